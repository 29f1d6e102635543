// Package catalog keeps data supplies, data products and data ingestions, as
// Wendelin names where data comes from, what it is, and what takes it. A
// policy with a grammar asks it before it takes data of a tag. The states are
// those of Wendelin's workflows; docs/format/catalog.md draws how they are
// kept.
package catalog
