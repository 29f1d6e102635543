package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"strings"
	"sync/atomic"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"weir/conf"
	"weir/jobs"
	"weir/jobs/cimi"
)

// An engine is what the commands of the job engine have in common; the flags
// are those of SlipStream's.
type engine struct {
	url, user, password, name string
	insecure                  bool
	zk                        []string
	session                   time.Duration
}

func (e *engine) serverFlags(c *cobra.Command) {
	f := c.Flags()
	f.StringVar(&e.url, "ss-url", "http://127.0.0.1:8880", "`URL` of the server that holds the jobs")
	f.StringVar(&e.user, "ss-user", "", "`USER` to log in as; without one no session is made")
	f.StringVar(&e.password, "ss-pass", "", "the user's `PASSWORD`; WEIR_SS_PASS in the environment stands for it")
	f.BoolVar(&e.insecure, "ss-insecure", false, "accept any certificate of the server")
}

func (e *engine) flags(c *cobra.Command) {
	e.serverFlags(c)
	f := c.Flags()
	f.StringSliceVar(&e.zk, "zk-hosts", nil, "ZooKeeper's `HOST:PORT`s (default what the gateway says: its own queue, or where it has one; 127.0.0.1:2181 with a server of SlipStream)")
	f.StringVar(&e.name, "name", "", "`NAME` of this process (default HOST-PID)")
	f.DurationVar(&e.session, "zk-timeout", 30*time.Second, "timeout of the session with ZooKeeper")
}

func (e *engine) client() (*cimi.Client, error) {
	if e.password == "" {
		e.password = os.Getenv("WEIR_SS_PASS")
	}
	return cimi.NewClient(cimi.ClientOptions{URL: e.url, User: e.user, Password: e.password, Insecure: e.insecure})
}

func newJobCommand() *cobra.Command {
	c := &cobra.Command{
		Use: "job", GroupID: "operate", Args: cobra.NoArgs,
		Short: "Run and look at jobs: executors, distributors, the queue",
		RunE:  func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(newExecutor(), newDistributor(), newJobList(), newJobShow(), newJobRun(), newJobCancel(), newJobLogs(), newJobStacks(), newJobExecutors())
	return c
}

func newExecutor() *cobra.Command {
	var e engine
	var threads int
	var actions string
	var timeout, grace time.Duration
	var bounds map[string]string
	var es, one string
	c := &cobra.Command{
		Use: "executor", Args: cobra.NoArgs,
		Short: "Take jobs from the queue and run their actions",
		Long: `Take jobs from the gateway's queue, or from the one in ZooKeeper beside executors
of SlipStream, and run their actions. An action is an executable in the folder of --actions,
named after it. It reads the job as JSON on its standard input and reports by
lines of JSON on its standard output, such as {"progress":50} or
{"statusMessage":"half way"}; its exit status is the job's return code, and
WEIR_JOB_AGAIN=true tells it that an earlier attempt did not end.

SIGTERM: running jobs have --grace to end, then they are released; a second
one ends at once. SIGHUP loads the actions anew. SIGQUIT and SIGUSR1 print what
each thread does, with all stacks.`,
		Example: "  weir job executor --ss-url http://127.0.0.1:8880 --threads 8 --actions ./actions",
		RunE: func(c *cobra.Command, _ []string) error {
			log := logger(conf.Log{Level: "info"}, os.Stderr)
			found, err := loadActions(actions, log)
			if err != nil {
				return exit{exitUsage, err.Error()}
			}
			timeouts, err := durations(bounds)
			if err != nil {
				return exit{exitUsage, "--timeouts: " + err.Error()}
			}
			o := jobs.ExecutorOptions{Threads: threads, Timeout: timeout, Timeouts: timeouts, Grace: grace, Log: log}
			if one != "" {
				return runOne(c.Context(), &e, jobName(one), found, o)
			}
			var running atomic.Pointer[jobs.Executor]
			api, queue, err := e.open(c.Context(), log, func() (s jobs.ExecutorStatus) {
				if x := running.Load(); x != nil {
					s = x.Status()
				}
				return s
			})
			if err != nil {
				return err
			}
			defer queue.Close()
			set := newActionSet(found, api)
			o.Name, o.Queue, o.API, o.Actions = e.name, queue, api, set.find
			x := jobs.NewExecutor(o)
			running.Store(x)
			stop := onSignals(executorProcess{x, set, actions, log}, log)
			defer stop()
			log.Info("executor started", "name", e.name, "threads", threads, "queue", queue, "server", e.url)
			x.Run(c.Context())
			log.Info("executor ended", "name", e.name)
			return nil
		},
	}
	e.flags(c)
	c.Flags().IntVar(&threads, "threads", 1, "jobs that run at the same time")
	c.Flags().StringVar(&actions, "actions", "", "`FOLDER` of executables, one an action")
	c.Flags().DurationVar(&timeout, "timeout", 0, "longest time for an attempt at a job (default no bound)")
	c.Flags().StringToStringVar(&bounds, "timeouts", nil, "longest time for an attempt at an action of its own: `ACTION=DURATION`,…")
	c.Flags().DurationVar(&grace, "grace", 2*time.Minute, "how long running jobs may go on after SIGTERM")
	c.Flags().StringVar(&one, "job-id", "", "run the job `ID` alone, such as one of executionMode pull, and exit")
	c.Flags().StringVar(&es, "es-hosts-list", "", "accepted for SlipStream's configuration files; not needed here")
	return c
}

// durations reads a duration for each name.
func durations(texts map[string]string) (map[string]time.Duration, error) {
	out := map[string]time.Duration{}
	for name, text := range texts {
		d, err := time.ParseDuration(text)
		if err != nil || d < 0 {
			return nil, fmt.Errorf("%s=%s is no duration; write one such as %s=10m", name, text, name)
		}
		out[name] = d
	}
	return out, nil
}

// An executorProcess is operable.
type executorProcess struct {
	*jobs.Executor
	set *actionSet
	dir string
	log *slog.Logger
}

// Reload reads the folder of actions anew.
func (p executorProcess) Reload() (int, error) {
	found, err := loadActions(p.dir, p.log)
	if err == nil {
		p.set.replace(found)
	}
	return len(found), err
}

func loadActions(dir string, log *slog.Logger) (map[string]jobs.Work, error) {
	if dir == "" {
		return nil, nil
	}
	return jobs.Folder(dir, log)
}

// distributions are those that SlipStream's engine ships by these names and
// that need nothing of SlipStream.
func distributions() map[string]jobs.Distribution {
	return map[string]jobs.Distribution{
		"jobs_cleanup":      {Action: actionCleanup, Schedule: jobs.Every(24 * time.Hour)},
		"dummy_test_action": {Action: actionDummy, Schedule: jobs.Every(15 * time.Second)},
	}
}

func newDistributor() *cobra.Command {
	var e engine
	var every, target string
	var priority int
	c := &cobra.Command{
		Use: "distributor NAME…", Args: cobra.MinimumNArgs(1),
		Short: "Make jobs at intervals, one leader an action",
		Long: `Make a job of each named action again and again. Several may run on several
machines: one is elected that leads an action, in ZooKeeper beside those of
SlipStream.
The names jobs_cleanup (every 24h) and dummy_test_action (every 15s) are known;
any other is an action and needs --every.`,
		Example: "  weir job distributor jobs_cleanup\n  weir job distributor collect --every 10m --target connector/a\n  weir job distributor report --every \"30 3 * * mon-fri\"",
		RunE: func(c *cobra.Command, names []string) error {
			var list []jobs.Distribution
			for _, name := range names {
				d, known := distributions()[name]
				if !known {
					d = jobs.Distribution{Action: name}
				}
				if every != "" {
					var err error
					if d.Schedule, err = jobs.ParseSchedule(every); err != nil {
						return exit{exitUsage, "--every: " + err.Error()}
					}
				}
				if d.Schedule.Never() {
					return exit{exitUsage, fmt.Sprintf("distribution %q: say how often with --every", name)}
				}
				if strings.ContainsAny(name, "/'\"") {
					return exit{exitUsage, fmt.Sprintf("distribution %q: it is no name of an action", name)}
				}
				d.Target, d.Priority = target, priority
				list = append(list, d)
			}
			log := logger(conf.Log{Level: "info"}, os.Stderr)
			api, queue, err := e.open(c.Context(), log, func() jobs.ExecutorStatus { return jobs.ExecutorStatus{} })
			if err != nil {
				return err
			}
			defer queue.Close()
			jobs.NewDistributor(jobs.DistributorOptions{Name: e.name, Elector: queue, Maker: api, Log: log}).Run(c.Context(), list)
			return nil
		},
	}
	e.flags(c)
	c.Flags().StringVar(&every, "every", "", "`SCHEDULE`: an interval such as 10m or 7d, or the five fields of a crontab")
	c.Flags().StringVar(&target, "target", "", "targetResource of the jobs")
	c.Flags().IntVar(&priority, "priority", 0, "priority of the jobs, 1 first to 999 (default 999)")
	return c
}

func newJobList() *cobra.Command {
	var e engine
	var filters []string
	var limit int
	c := &cobra.Command{
		Use: "ls", Args: cobra.NoArgs, Short: "List jobs, the newest first",
		Example: `  weir job ls --filter "state='FAILED'"`,
		RunE: func(c *cobra.Command, _ []string) error {
			api, err := e.client()
			if err != nil {
				return exit{exitUsage, err.Error()}
			}
			p, err := api.Query(c.Context(), jobs.Query{Filters: filters, OrderBy: []string{"created:desc"}, Last: fmt.Sprint(limit)})
			if err != nil {
				return err
			}
			return printJobs(c.OutOrStdout(), p)
		},
	}
	e.serverFlags(c)
	c.Flags().StringArrayVar(&filters, "filter", nil, "CIMI `FILTER`; may be repeated, then all must hold")
	c.Flags().IntVar(&limit, "limit", 50, "jobs at most")
	return c
}

func printJobs(out io.Writer, p jobs.Page) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "ID\tSTATE\tPROGRESS\tACTION\tTARGET\tUPDATED\tMESSAGE")
	for _, j := range p.Jobs {
		target := ""
		if j.Target != nil {
			target = j.Target.Href
		}
		line, _, _ := strings.Cut(j.StatusMessage, "\n")
		fmt.Fprintf(w, "%s\t%s\t%d%%\t%s\t%s\t%s\t%.60s\n", j.ID, j.State, j.Progress, j.Action, target, j.Updated, line)
	}
	if n := p.Count - len(p.Jobs); n > 0 {
		fmt.Fprintf(w, "and %d more\n", n)
	}
	return w.Flush()
}

// jobName accepts an id with or without "job/".
func jobName(id string) string { return "job/" + strings.TrimPrefix(id, "job/") }

func newJobShow() *cobra.Command {
	return oneJob("show ID", "Show a job as JSON", func(ctx context.Context, api *cimi.Client, id string) (jobs.Job, error) {
		return api.Get(ctx, id)
	})
}

func newJobCancel() *cobra.Command {
	return oneJob("cancel ID", "Give a job up; what runs is told to end", func(ctx context.Context, api *cimi.Client, id string) (jobs.Job, error) {
		return api.Cancel(ctx, id)
	})
}

// oneJob is a command about one job, which it prints.
func oneJob(use, short string, f func(context.Context, *cimi.Client, string) (jobs.Job, error)) *cobra.Command {
	var e engine
	c := &cobra.Command{
		Use: use, Args: cobra.ExactArgs(1), Short: short,
		RunE: func(c *cobra.Command, args []string) error {
			api, err := e.client()
			if err != nil {
				return exit{exitUsage, err.Error()}
			}
			j, err := f(c.Context(), api, jobName(args[0]))
			if err != nil {
				return err
			}
			return printJSON(c.OutOrStdout(), j)
		},
	}
	e.serverFlags(c)
	return c
}

func printJSON(out io.Writer, v any) error {
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(out, string(b))
	return err
}

func newJobRun() *cobra.Command {
	var e engine
	var target string
	var priority int
	var wait time.Duration
	c := &cobra.Command{
		Use: "run ACTION", Args: cobra.ExactArgs(1), Short: "Queue a job and wait until it has ended",
		Example: "  weir job run collect --target connector/a",
		RunE: func(c *cobra.Command, args []string) error {
			api, err := e.client()
			if err != nil {
				return exit{exitUsage, err.Error()}
			}
			body := map[string]any{"action": args[0], "priority": priority}
			if target != "" {
				body["targetResource"] = jobs.Reference{Href: target}
			}
			id, err := createJob(c.Context(), api, body)
			if err != nil {
				return err
			}
			fmt.Fprintln(c.ErrOrStderr(), id)
			return awaitJob(c, api, id, wait)
		},
	}
	e.serverFlags(c)
	c.Flags().StringVar(&target, "target", "", "targetResource of the job")
	c.Flags().IntVar(&priority, "priority", jobs.DefaultPriority, "0 runs first")
	c.Flags().DurationVar(&wait, "wait", 10*time.Minute, "how long to wait for its end; 0 does not wait")
	return c
}

// createJob queues a job of what is said of it, and gives its id.
func createJob(ctx context.Context, api *cimi.Client, said map[string]any) (id string, err error) {
	b, err := json.Marshal(said)
	if err != nil {
		return "", err
	}
	return api.Create(ctx, b)
}

// ended exits 1 unless a job succeeded.
func ended(id string, j jobs.Job) error {
	if j.State == jobs.Success {
		return nil
	}
	return exit{exitFailure, fmt.Sprintf("%s is %s: %s", id, j.State, j.StatusMessage)}
}

// awaitJob waits for a job's end and exits 1 unless it succeeded.
func awaitJob(c *cobra.Command, api *cimi.Client, id string, wait time.Duration) error {
	for end := time.Now().Add(wait); wait > 0; {
		j, err := api.Get(c.Context(), id)
		if err != nil {
			return err
		}
		if j.State.Final() || j.State == jobs.Stopped {
			if err := printJSON(c.OutOrStdout(), j); err != nil {
				return err
			}
			return ended(id, j)
		}
		if time.Now().After(end) {
			return exit{exitFailure, fmt.Sprintf("%s is %s after %v; is there an executor? see weir job show %s", id, j.State, wait, id)}
		}
		select {
		case <-time.After(200*time.Millisecond + time.Duration(rand.Int64N(int64(100*time.Millisecond)))):
		case <-c.Context().Done():
			return errors.Join(c.Context().Err(), fmt.Errorf("%s goes on", id))
		}
	}
	return nil
}
