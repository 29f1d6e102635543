package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"weir/jobs"
	"weir/jobs/cimi"
	"weir/jobs/zookeeper"
)

// A sharedQueue is the one that executors and distributors of a gateway share.
type sharedQueue interface {
	jobs.Taker
	jobs.Elector
	Close() error
}

// naming gives the process a name of its own.
func (e *engine) naming() {
	if e.name == "" {
		host, _ := os.Hostname()
		e.name = fmt.Sprintf("%s-%d", host, os.Getpid())
	}
}

// open logs in and starts a session with the queue: with ZooKeeper where hosts
// are given or the server names some, and with the server's own queue
// otherwise. status is what the server is told of this process.
func (e *engine) open(ctx context.Context, log *slog.Logger, status func() jobs.ExecutorStatus) (*cimi.Client, sharedQueue, error) {
	e.naming()
	api, err := e.client()
	if err != nil {
		return nil, nil, exit{exitUsage, err.Error()}
	}
	if err := api.Login(ctx); err != nil {
		return nil, nil, exit{exitUsage, err.Error()} // as SlipStream's engine: 2 is an error at the start
	}
	hosts, lends := e.zk, false
	if len(hosts) == 0 {
		if hosts, lends, err = api.Queue(ctx); err != nil {
			return nil, nil, exit{exitUsage, err.Error()}
		}
	}
	if len(hosts) == 0 && !lends { // a server of SlipStream
		hosts = []string{"127.0.0.1:2181"}
	}
	kind := "api"
	if len(hosts) > 0 {
		kind = "zookeeper"
	}
	remote := cimi.NewRemote(cimi.RemoteOptions{Client: api, Log: log, Status: func() jobs.ExecutorStatus {
		s := status()
		s.Name, s.Queue, s.Version = e.name, kind, version()
		if s.Running == nil {
			s.Running = []string{}
		}
		return s
	}})
	if kind == "api" {
		return api, lentQueue{remote}, nil
	}
	zk, err := zookeeper.Open(zookeeper.Options{Hosts: hosts, Timeout: e.session, Log: log})
	if err != nil {
		return nil, nil, errors.Join(exit{exitUsage, err.Error()}, remote.Close())
	}
	return api, keeperQueue{zk, remote, hosts}, nil
}

// A lentQueue is the gateway's own.
type lentQueue struct{ *cimi.Remote }

func (lentQueue) String() string { return "the gateway's" }

// A keeperQueue is in ZooKeeper; the gateway only sees the process.
type keeperQueue struct {
	*zookeeper.Client
	seen  *cimi.Remote
	hosts []string
}

func (q keeperQueue) String() string { return "ZooKeeper at " + strings.Join(q.hosts, ",") }

// Close ends both sessions.
func (q keeperQueue) Close() error { return errors.Join(q.Client.Close(), q.seen.Close()) }

func newJobExecutors() *cobra.Command {
	var e engine
	c := &cobra.Command{
		Use: "executors", Args: cobra.NoArgs, Short: "List the executors that are heard, and what they run",
		RunE: func(c *cobra.Command, _ []string) error {
			api, err := e.client()
			if err != nil {
				return exit{exitUsage, err.Error()}
			}
			list, err := api.Executors(c.Context())
			if err != nil {
				return err
			}
			w := tabwriter.NewWriter(c.OutOrStdout(), 0, 0, 2, ' ', 0)
			fmt.Fprintln(w, "NAME\tQUEUE\tTHREADS\tDONE\tSEEN\tRUNNING")
			for _, x := range list {
				fmt.Fprintf(w, "%s\t%s\t%d\t%d\t%s\t%s\n", x.Name, x.Queue, x.Threads, x.Done, x.Seen, strings.Join(x.Running, " "))
			}
			return w.Flush()
		},
	}
	e.serverFlags(c)
	return c
}
