package main

import (
	"fmt"
	"io"
	"os"
	"slices"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"golang.org/x/sys/unix"

	"belfry/config"
)

// newLogger returns the logger of the section log and the sink between it and
// w. Logging never waits for w. From here on level is the level of the logger.
func newLogger(c config.Log, w io.Writer, level zap.AtomicLevel) (*zap.Logger, *sink, error) {
	first, err := zapcore.ParseLevel(c.Level)
	if err != nil {
		return nil, nil, fmt.Errorf("log.level: %w", err)
	}
	level.SetLevel(first)
	encoder := newEncoder(c.Format, terminal(w))
	out := newSink(w, int(c.Buffer), linesLost(encoder.Clone()))
	core := zapcore.NewCore(encoder, out, level)
	if c.SampleFirst > 0 {
		core = zapcore.NewSamplerWithOptions(core, time.Second, c.SampleFirst, c.SampleEvery)
	}
	return zap.New(core, zap.ErrorOutput(out)), out, nil
}

// linesLost returns the line about lost lines.
func linesLost(encoder zapcore.Encoder) func(lines uint64) []byte {
	return func(lines uint64) []byte {
		entry := zapcore.Entry{Level: zapcore.WarnLevel, Time: time.Now(),
			Message: "log lines were lost: standard error was not read fast enough for log.buffer, or not at all"}
		line, err := encoder.EncodeEntry(entry, []zapcore.Field{zap.Uint64("lines", lines)})
		if err != nil {
			return nil
		}
		defer line.Free()
		return slices.Clone(line.Bytes())
	}
}

func newEncoder(format string, terminal bool) zapcore.Encoder {
	c := zapcore.EncoderConfig{
		TimeKey:        "time",
		LevelKey:       "level",
		NameKey:        "logger",
		MessageKey:     "msg",
		EncodeTime:     zapcore.RFC3339NanoTimeEncoder,
		EncodeLevel:    zapcore.LowercaseLevelEncoder,
		EncodeDuration: zapcore.StringDurationEncoder,
	}
	if format == "json" || format == "auto" && !terminal {
		return escapingEncoder{zapcore.NewJSONEncoder(c)}
	}
	c.EncodeTime = zapcore.TimeEncoderOfLayout("15:04:05.000")
	c.EncodeLevel = zapcore.CapitalLevelEncoder
	c.ConsoleSeparator = " "
	return escapingEncoder{zapcore.NewConsoleEncoder(c)}
}

// terminal says whether w is a terminal: only terminals have terminal settings.
func terminal(w io.Writer) bool {
	file, ok := w.(*os.File)
	if !ok {
		return false
	}
	_, err := unix.IoctlGetTermios(int(file.Fd()), unix.TCGETS)
	return err == nil
}
