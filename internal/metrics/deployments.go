package metrics

import "weir/slap/deploy"

// deployment reads a number of each instance that a policy names.
func deployment(n func(deploy.Status) int64) func(*snapshot, emit) {
	return func(s *snapshot, out emit) {
		for _, d := range s.deployed {
			out(float64(n(d)), d.Policy, d.Reference)
		}
	}
}

func ofDeployments() []metric {
	byInstance := []string{"policy", "reference"}
	return []metric{
		{name: "weir_deployments", kind: gauge, labels: []string{"phase"}, help: "Instances that policies name, by phase: waiting, allocated, failed.",
			read: func(s *snapshot, out emit) {
				n := map[string]int{deploy.Waiting: 0, deploy.Allocated: 0, deploy.Failed: 0}
				for _, d := range s.deployed {
					n[d.Phase]++
				}
				for phase, n := range n {
					out(float64(n), phase)
				}
			}},
		{name: "weir_deployment_running", kind: gauge, labels: byInstance, help: "1 when the computer reports that the policy's instance is started, else 0.",
			read: deployment(func(d deploy.Status) int64 { return flag(d.Running()) })},
		{name: "weir_deployment_broken", kind: gauge, labels: byInstance, help: "1 when the last request failed or the computer reports an error of the instance, else 0.",
			read: deployment(func(d deploy.Status) int64 { return flag(d.Broken()) })},
		{name: "weir_deployment_requests_total", kind: counter, labels: byInstance, help: "Requests for the policy's instance.",
			read: deployment(func(d deploy.Status) int64 { return d.Attempts })},
		{name: "weir_deployment_changed_seconds", kind: gauge, labels: byInstance, help: "Unix time at which anything about the policy's instance last changed.",
			read: deployment(func(d deploy.Status) int64 { return d.Since.Unix() })},
	}
}
