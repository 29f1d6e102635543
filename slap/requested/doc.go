// Package requested reads which processes of a partition the partition itself
// wants stopped or restarted.
//
// The file .PARTITION-requested-process-state in the partition's folder holds
// a JSON object:
//
//	{"stopped": ["httpd"], "restarted": ["cron"], "timestamp": 1795255257}
//
// Names are file names in etc/run and etc/service. What is in neither list is
// started. A restart needs the timestamp, in seconds, and is done once. The
// file is written by whatever runs in the partition, so nothing about it can
// fail: what is wrong is ignored and noted. DESIGN.md lists the decisions.
package requested
