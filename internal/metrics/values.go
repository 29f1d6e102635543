package metrics

import (
	"weir/forward"
	"weir/policies"
)

func policyStats(s *snapshot) map[string]policies.PolicyStats { return s.policies.Policies }
func batches(p policies.PolicyStats) int64                    { return p.Batches }
func records(p policies.PolicyStats) int64                    { return p.Records }
func policyBytes(p policies.PolicyStats) int64                { return p.Bytes }
func duplicates(p policies.PolicyStats) int64                 { return p.Duplicates }
func dead(p policies.PolicyStats) int64                       { return p.Dead }

func refused(s *snapshot) map[string]policies.Count { return s.policies.Refused }
func refusedRecords(c policies.Count) int64         { return c.Records }
func refusedBytes(c policies.Count) int64           { return c.Bytes }

func forwardRefused(s *snapshot) map[string]forward.Count { return s.forward.Refused }
func refusedMessages(c forward.Count) int64               { return c.Messages }
func refusedMessageBytes(c forward.Count) int64           { return c.Bytes }
