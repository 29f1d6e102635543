// Package jobs runs weir's background work.
//
// A job is an action on a target, such as the transform of one stream. Waking
// it queues it; however often it is woken, it is queued once and never runs
// twice at the same time. What a job has done so far is recorded by the action
// itself, with its result, so a job needs no memory over a restart: it is
// woken again and goes on from there.
//
// Jobs are shown as CIMI job resources.
package jobs
