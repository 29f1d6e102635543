// Package zookeeper is the queue of jobs, and the election of distributors, in
// a ZooKeeper ensemble. Nodes have the names, the data and the meaning of
// kazoo's LockingQueue and Election in SlipStream's layout, so that engines in
// Python and this one share one queue:
//
//	/job/entries/entry-PPP-SSSSSSSSSS         persistent; data is the job's id
//	/job/taken/entry-PPP-SSSSSSSSSS           ephemeral; data is 32 hex digits, the owner's
//	/job/session-<32 hex>                     ephemeral; this package's fence, which kazoo ignores
//	/election/ACTION/<32 hex>__lock__SSSSSSSSSS  ephemeral; data is the candidate's name
package zookeeper
