package hostile

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"belfry/bench"
	"belfry/bench/tool"
)

// scene has the processes and clients of one row.
type scene struct {
	opts    *Options
	attack  Attack
	count   int
	node    *node // of the witnesses
	control *node
	joined  *node // nil without
	props   *props

	phase     atomic.Uint32
	witnesses []*witness
	strangers *strangers
	readers   *readers
	watch     *watch
	watch2    *watch // of the joined node
	uid       string // of attackers on the node
	controls  string // of attackers on the control

	running sync.WaitGroup // everything but the watches
	row     Row
}

// calm is the time for nodes to notice that the attackers have left.
const calm = 3 * time.Second

// row runs one attack with n attackers.
func (o *Options) row(ctx context.Context, a Attack, n int, paths []string, progress *tool.Progress) (*Row, error) {
	s := &scene{opts: o, attack: a, count: n, row: Row{Attack: a.Name, What: a.What, Attackers: n, Target: target(n), Bound: a.Grow, Shut: a.Shut}}
	defer s.stopNodes()
	// soft stops new activities, hard those in progress.
	hard, stopHard := context.WithCancel(ctx)
	defer stopHard()
	soft, stopSoft := context.WithCancel(hard)
	defer stopSoft()
	if err := s.start(ctx, hard, soft, paths); err != nil {
		stopHard()
		s.running.Wait()
		return nil, err
	}
	err := s.phases(ctx, progress)
	stopSoft()
	if err == nil {
		s.awaitEnd(ctx)
	}
	stopHard()
	s.running.Wait()
	if err != nil {
		if dead := s.node.dead(); dead == nil || ctx.Err() != nil {
			return nil, err
		}
	}
	s.tally()
	return &s.row, nil
}

// start starts nodes, witnesses and strangers.
func (s *scene) start(ctx, hard, soft context.Context, paths []string) (err error) {
	if s.props, err = newProps(s.attack.File); err != nil {
		return err
	}
	settings, lacks := known(append(append([]string{}, s.opts.Settings...), s.attack.Settings...), paths)
	s.row.LeftOut = lacks
	for i := range settings {
		settings[i] = s.props.fill(settings[i])
	}
	each := nodeOptions{settings: settings, files: s.attack.Files, tls: s.attack.Plan(s.count, Aim{}).TLS}
	if s.attack.File != "" {
		each.file = filepath.Join(s.props.dir, configFile)
	}
	witness, control := each, each
	witness.name, witness.cluster, control.name = "witness", s.attack.Joined, "control"
	if s.node, err = s.opts.startNode(ctx, witness); err != nil {
		return err
	}
	if s.control, err = s.opts.startNode(ctx, control); err != nil {
		return err
	}
	if s.attack.Joined {
		each.name, each.files, each.join = "joined", 0, s.node.routes
		if s.joined, err = s.opts.startNode(ctx, each); err != nil {
			return err
		}
		if err := s.node.joined(ctx, 1); err != nil {
			return err
		}
		s.watch2 = startWatch(hard, s.joined)
	}
	if err := s.people(ctx, hard, soft); err != nil {
		return err
	}
	s.watch = startWatch(hard, s.node)
	return nil
}

// people are the innocent ones.
func (s *scene) people(ctx, hard, soft context.Context) error {
	uids, err := users(ctx, s.node.listen, "witness", s.opts.Shards)
	if err != nil {
		return err
	}
	uids = uids[:min(len(uids), 2)]
	hostile, err := users(ctx, s.node.listen, "hostile", s.opts.Shards)
	if err != nil {
		return err
	}
	controls, err := users(ctx, s.control.listen, "hostile", s.opts.Shards)
	if err != nil {
		return err
	}
	s.uid, s.controls = hostile[0], controls[0]
	clock := bench.NewClock()
	for _, uid := range uids {
		w := newWitness(s.node, uid)
		if err := w.connect(hard, &s.running); err != nil {
			return fmt.Errorf("witness: %w", err)
		}
		s.witnesses = append(s.witnesses, w)
	}
	for _, w := range s.witnesses {
		(&pusher{witness: w, clock: clock, phase: &s.phase}).start(soft, hard, &s.running)
	}
	s.row.Innocents = len(s.witnesses) + s.attack.SlowReaders
	s.readers = &readers{node: s.node}
	if err := s.readers.connect(hard, s.attack.SlowReaders, s.node.listen, &s.running); err != nil {
		return err
	}
	if s.attack.SlowReaders > 0 {
		if err := s.readers.fill(ctx, s.attack.SlowReaders); err != nil {
			return err
		}
		// A little less than they read, in frames as large as the waiting ones,
		// so that the backlog lasts and does not reach a limit by itself.
		s.running.Go(func() {
			stream(soft, s.node.api, Pushes{Path: "/v1/topics/" + slowTopic, Rate: 1, Size: slowMessage})
		})
	}
	s.strangers = newStrangers(s.node, &s.phase)
	s.strangers.start(soft, hard, &s.running)
	return nil
}

func (s *scene) enter(p phase) { s.phase.Store(uint32(p)) }

// phases runs the phases of a row.
func (s *scene) phases(ctx context.Context, progress *tool.Progress) error {
	note := func(what string) { progress.Note("%s, %d: %s", s.attack.Name, s.count, what) }
	note("idle")
	if err := bench.Sleep(ctx, 300*time.Millisecond); err != nil { // new processes warm up
		return err
	}
	s.enter(phIdle)
	if err := bench.Sleep(ctx, s.opts.Idle); err != nil {
		return err
	}
	s.enter(phBetween)
	note("attack on the other node")
	report, err := s.assault(ctx, s.control, s.controls, phControl)
	if err != nil {
		return fmt.Errorf("control: %w", err)
	}
	s.row.OnControl = report
	s.quiet(ctx, s.control)
	before, err := s.node.metrics(ctx)
	if err != nil {
		return err
	}
	s.watch.take()
	if s.row.Memory.Before, err = readRSS(s.node.proc.PID()); err != nil {
		return err
	}
	if s.joined != nil {
		s.watch2.take()
		s.row.Joined = new(Memory)
		if s.row.Joined.Before, err = readRSS(s.joined.proc.PID()); err != nil {
			return err
		}
	}
	note("attack on the witness's node")
	if s.row.OnNode, err = s.assault(ctx, s.node, s.uid, phAttacked); err != nil {
		return err
	}
	note("after")
	return s.aftermath(ctx, before)
}

// assault attacks a node for one phase.
func (s *scene) assault(ctx context.Context, target *node, uid string, p phase) (r Report, err error) {
	program := s.opts.Attacker
	if len(program) == 0 {
		self, err := os.Executable()
		if err != nil {
			return r, err
		}
		program = []string{self, "attacker"}
	}
	proc, err := bench.Start(ctx, "attacker", true, []string{"GOMAXPROCS=1"}, program[0], program[1:]...)
	if err != nil {
		return r, err
	}
	defer proc.Stop(0)
	if err := proc.Background(); err != nil {
		return r, err
	}
	o, err := s.order(target, uid)
	if err != nil {
		return r, err
	}
	detail, err := json.Marshal(o)
	if err != nil {
		return r, err
	}
	if !s.attack.Setup {
		s.enter(p)
	}
	connected := proc.Go(bench.Command{Op: opAttack, Detail: detail})
	if s.attack.Setup {
		patient, cancel := context.WithTimeoutCause(ctx, time.Minute, errors.New("the attackers are not connected after a minute"))
		defer cancel()
		if _, err := connected(patient); err != nil {
			return r, err
		}
		s.enter(p)
	}
	pushes, stop := context.WithCancel(ctx)
	defer stop()
	if target == s.node {
		s.strangers.crowd(pushes, s.attack.Crowd, &s.running)
	}
	if s.attack.Pushes != nil {
		go stream(pushes, target.api, s.attack.Pushes())
	}
	if err := bench.Sleep(ctx, s.opts.Duration*time.Duration(max(s.attack.Longer, 1))); err != nil {
		return r, err
	}
	s.enter(phBetween)
	stop()
	patient, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	reply, err := proc.Call(patient, bench.Command{Op: opReport})
	if err != nil {
		return r, err
	}
	return r, json.Unmarshal(reply.Detail, &r)
}

// order is what the attackers of a node are told.
func (s *scene) order(target *node, uid string) (o Order, err error) {
	o = Order{Attack: s.attack.Name, Count: s.count, Target: target.listen, Aim: Aim{UID: uid, Key: s.props.private()}}
	switch plan := s.attack.Plan(s.count, o.Aim); {
	case plan.TLS:
		o.Target = target.tls
	case plan.API:
		o.Target, err = parseAddr(target.api)
	}
	return o, err
}

// quiet waits until a node has noticed that its attackers have left.
func (s *scene) quiet(ctx context.Context, n *node) {
	ctx, cancel := context.WithTimeout(ctx, calm)
	defer cancel()
	for {
		if m, err := n.metrics(ctx); err == nil && m["belfry_connections"] < 1 {
			return
		}
		if bench.Sleep(ctx, 100*time.Millisecond) != nil {
			return
		}
	}
}
