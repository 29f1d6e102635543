package proc

import "syscall"

// Tree finds a process and all that came of it, as far as that can be told:
// its session while its leader is there, all descendants, and those that have
// the marker, a variable of the environment (KEY=VALUE, or "" for none).
func Tree(main ID, marker string) []ID {
	all, err := All("/")
	if err != nil {
		return nil
	}
	led := false // the session's number is still that of our leader
	for _, s := range all {
		led = led || s.ID == main
	}
	ours := map[int]bool{}
	for _, s := range all {
		if s.Start < main.Start || s.Parent == 2 { // 2 is the parent of the kernel's own
			continue
		}
		ours[s.PID] = led && (s.ID == main || s.Session == main.PID) || marker != "" && HasEnv(s.PID, marker)
	}
	for more := true; more; {
		more = false
		for _, s := range all {
			if ours[s.Parent] && !ours[s.PID] && s.Start >= main.Start {
				ours[s.PID], more = true, true
			}
		}
	}
	var list []ID
	for _, s := range all {
		if ours[s.PID] && !s.Dead() {
			list = append(list, s.ID)
		}
	}
	return list
}

// SignalAll sends a signal to processes that are still there.
func SignalAll(list []ID, s syscall.Signal) {
	for _, id := range list {
		if h, err := Open(id); err == nil {
			_ = h.Signal(s)
			h.Close()
		}
	}
}
