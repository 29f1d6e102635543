// Package collect measures what the partitions of a computer use: processor,
// memory, input and output and disk of each user's processes, and the
// computer's own load, memory, network, disks and temperatures.
//
// Samples are the tables that slapos's monitor has (user, folder, system,
// computer, disk, temperature). They are kept for some days in a folder, from
// which come the journal that a day's use is reported to the SLAP master with
// and the records that are pushed to an ingestion gateway such as weir.
package collect
