package handover

import (
	"errors"
	"fmt"
	"time"

	"go.uber.org/zap"
)

// This is what a successor does if it does not take over after all, or if the old process
// dies.

// GiveUp says that this process cannot open what it needs, before Run; the old one goes
// on. After Run it does nothing.
func (s *Successor) GiveUp(err error) {
	_ = s.c.write(kindAbort, []byte(err.Error()))
	s.Close()
}

// giveUp tells the old process that it has to go on. The sessions stay here until it
// asks for them.
func (s *Successor) giveUp(err error) error {
	s.log.Error("hot restart: gives up", zap.Error(err))
	if werr := s.c.write(kindAbort, []byte(err.Error())); werr != nil {
		return err
	}
	for {
		select {
		case f := <-s.frames:
			CloseAll(f.fds)
			if f.kind == kindAbort {
				_ = s.giveBack(string(f.payload))
				return err
			}
		case <-s.failed:
			return err
		}
	}
}

// aloneTime is how long a process may take from the end of its connections to its own.
const aloneTime = 2 * time.Second

// orphaned is called when a connection to the old process broke off. If that process has
// died, this one goes on with the sessions that it has; else the old one does.
func (s *Successor) orphaned(cause error, n Node) error {
	if s.sessions.Load() == 0 || !s.process.ended(aloneTime) {
		return fmt.Errorf("the connection to the process %d broke off: %w", s.process.pid, cause)
	}
	<-s.controlRead // what the process said before its end is in frames
	for len(s.frames) > 0 {
		f := <-s.frames
		if done, err := s.control(&f, n); done || err != nil {
			return err
		}
	}
	s.log.Error("hot restart: the old process has died; this one goes on with the sessions that it has", zap.Int64("sessions", s.sessions.Load()), zap.Error(cause))
	if err := n.Alone(); err != nil {
		return err
	}
	s.bus.end()
	return nil
}

// giveBack gives all sessions back, and returns the error with which this process ends.
func (s *Successor) giveBack(why string) error {
	s.log.Warn("hot restart: the old process goes on; sessions go back", zap.String("why", why), zap.Int64("sessions", s.sessions.Load()))
	s.bus.end() // sessions that wait for the bus cannot go back
	select {
	case <-s.sentBack:
		_ = s.c.sock.SetReadDeadline(time.Now().Add(s.opt.Limits.Return))
		<-s.failed // the old process closes the connection when it has everything
	case <-s.failed:
	case <-time.After(s.opt.Limits.Return):
	}
	return errors.New("the process that serves goes on: " + why)
}
