package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
	"time"

	"go.uber.org/zap"

	"belfry/config"
)

// watchSignals ends the context at the first SIGTERM or SIGINT, and the process
// at the second. After the first the process ends within the time of the
// section shutdown, even if something hangs.
//
// restart is called for each SIGUSR2, on a goroutine of its own.
func watchSignals(c config.Shutdown, log *zap.Logger, out *sink, restart func()) context.Context {
	// A write to a closed pipe at standard output or standard error would end
	// the process (os/signal, SIGPIPE). Here it is an ordinary error.
	signal.Ignore(syscall.SIGPIPE)
	ctx, stop := context.WithCancel(context.Background())
	told := make(chan os.Signal, 8)
	signal.Notify(told, syscall.SIGTERM, syscall.SIGINT, syscall.SIGUSR2)
	go func() {
		for sig := range told {
			switch {
			case sig == syscall.SIGUSR2:
				go restart()
			case ctx.Err() == nil:
				time.AfterFunc(c.Delay+c.Grace+deadlineSlack, func() { exitNow(log, out) })
				stop()
			default:
				exitBySignal(sig.(syscall.Signal))
			}
		}
	}()
	return ctx
}

// flushTime is how long the process waits for its log to be written before it
// ends.
const flushTime = time.Second

// exitNow ends the process. Nothing can delay it, not even the log.
func exitNow(log *zap.Logger, out *sink) {
	time.AfterFunc(flushTime, func() { os.Exit(exitFailed) })
	log.Error("shutdown.grace has passed: exiting now")
	out.Flush(flushTime)
	os.Exit(exitFailed)
}

// exitBySignal ends the process as the signal does by default, so that the
// parent process sees the signal.
func exitBySignal(sig syscall.Signal) {
	time.AfterFunc(flushTime, func() { os.Exit(exitFailed) })
	signal.Reset(sig)
	_ = syscall.Kill(os.Getpid(), sig)
}
