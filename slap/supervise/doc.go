// Package supervise keeps programs running, as supervisord does, in a process
// of its own that outlives the agent which speaks to it.
//
// Programs are in groups; a group is a partition. Serve runs the supervisor in
// a folder, which holds its socket and its records; Ensure starts one if there
// is none and gives a Client. States, their names and what they mean are
// supervisord's, and so are the settings of a Program.
//
// A supervisor that is killed and started again adopts what still runs: a
// process is known by its pid, the tick it was started at and the boot, and is
// let go only after that was written down, so nothing runs twice and nothing
// runs unknown. DESIGN.md says how.
package supervise
