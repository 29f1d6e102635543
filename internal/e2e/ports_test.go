package e2e

import (
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
	"testing"
)

// reserved are the ports that tests were given.
var reserved sync.Map

// freePort gives a port that nobody listens at, and no other test is given. It
// is below those that the system gives to connections, so that a server which
// is started, or started again, later still has it.
func freePort(t testing.TB) int {
	t.Helper()
	for range 10_000 {
		port := 10_000 + rand.IntN(20_000)
		if _, taken := reserved.LoadOrStore(port, true); taken {
			continue
		}
		if l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port)); err == nil {
			l.Close()
			return port
		}
	}
	t.Fatal("there is no free port")
	return 0
}

func freePorts(t testing.TB, n int) []int {
	t.Helper()
	ports := make([]int, n)
	for i := range ports {
		ports[i] = freePort(t)
	}
	return ports
}

func freeAddress(t testing.TB) string {
	t.Helper()
	return fmt.Sprintf("127.0.0.1:%d", freePort(t))
}
