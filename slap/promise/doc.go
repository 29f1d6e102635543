// Package promise checks whether an instance works: it runs the executables of
// a partition's etc/promise and the Python promises of its etc/plugin, keeps
// results and logs where SlapOS's tools look for them, and sums up.
//
// In test mode, after a partition was processed, every promise is run. In
// anomaly mode, on partitions that are up to date, a promise is run when its
// period is over, and its failure may bang. Python promises run in the
// software's own Python with the library slapos.core that it has.
package promise
