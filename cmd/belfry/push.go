package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"belfry/push"
)

// pushFlags are the flags of belfry push and its subcommands.
type pushFlags struct {
	apiFlags
	file    string
	json    string
	binary  bool
	exclude string
	latest  string
	wait    time.Duration
	ack     bool
}

// newPushCommand returns the command push, which calls the HTTP API.
func newPushCommand() *cobra.Command {
	f := new(pushFlags)
	cmd := &cobra.Command{
		Use:   "push",
		Short: "Push messages through the HTTP API",
		Long: `Push messages through the HTTP API of a running belfry.

The data is the argument, the file of -f, or standard input. It is sent byte for byte
(echo adds a newline, printf does not). The id of the message is printed, or with --wait
what became of it, as JSON.
Exit status: 0 accepted, 1 refused or not reached, 2 wrong usage.`,
		Example: `  belfry push all "hello"
  belfry push topic news -f story.txt
  belfry push user u1 --json '{"a":1}'
  date | belfry push session AAAAAAAAAAAAAAAAAAAAAAAAAAAAAA
  belfry push batch < messages.ndjson`,
	}
	flags := cmd.PersistentFlags()
	f.add(flags, "how long an answer may take; of a batch, until the answer begins")
	one := func(use, short, path string, names int) *cobra.Command {
		sub := &cobra.Command{
			Use: use, Short: short, Args: cobra.RangeArgs(names, names+1),
			RunE: func(cmd *cobra.Command, args []string) error {
				if names > 0 {
					return f.pushOne(cmd, path+escapeName(args[0]), args[1:])
				}
				return f.pushOne(cmd, path, args)
			},
		}
		flags := sub.Flags()
		flags.StringVarP(&f.file, "file", "f", "", "read the data from a file, - for standard input")
		flags.StringVar(&f.json, "json", "", "the data, checked to be JSON")
		flags.BoolVar(&f.binary, "binary", false, "send a binary frame instead of text")
		flags.StringVar(&f.exclude, "exclude", "", "id of a session that does not receive the message")
		flags.DurationVar(&f.wait, "wait", 0, "print what became of the message on every node, at the latest after this time: 1ms to 30s")
		flags.BoolVar(&f.ack, "ack", false, "with --wait, wait also until clients have acknowledged the message")
		flags.StringVar(&f.latest, "latest-key", "", "with the policy latest-only the message replaces a waiting one with this key")
		return sub
	}
	cmd.AddCommand(
		one("all [TEXT]", "Push to every session", "/v1/all", 0),
		one("topic TOPIC [TEXT]", "Push to the subscribers of a topic", "/v1/topics/", 1),
		one("user UID [TEXT]", "Push to all sessions of a user", "/v1/users/", 1),
		one("session SID [TEXT]", "Push to one session", "/v1/sessions/", 1),
		newPushBatchCommand(f),
	)
	return cmd
}

func newPushBatchCommand(f *pushFlags) *cobra.Command {
	cmd := &cobra.Command{
		Use: "batch", Short: "Push the lines of a file or of standard input", Args: cobra.NoArgs,
		Long: `Push messages given as lines of JSON, such as

  {"to":{"topic":"news"},"text":"hello"}
  {"to":{"users":["u1","u2"]},"json":{"a":1}}
  {"to":{"all":true},"base64":"/wA="}

as they arrive, and print the answer to each. A refused line does not affect the
others; the exit status is then 1.`,
		RunE: func(cmd *cobra.Command, _ []string) error { return f.pushBatch(cmd) },
	}
	cmd.Flags().StringVarP(&f.file, "file", "f", "", "read the lines from a file, - for standard input")
	return cmd
}

// pushOne pushes one message and prints its id.
func (f *pushFlags) pushOne(cmd *cobra.Command, path string, text []string) error {
	data, contentType, err := f.data(cmd, text)
	if err != nil {
		return err
	}
	query := url.Values{}
	for name, flag := range map[string]string{"exclude": "exclude", "key": "latest-key", "wait": "wait", "ack": "ack"} {
		if v := cmd.Flag(flag); v.Changed {
			query.Set(name, v.Value.String())
		}
	}
	if len(query) > 0 {
		path += "?" + query.Encode()
	}
	req, cancel, err := f.push(cmd, path, contentType, bytes.NewReader(data))
	if err != nil {
		return err
	}
	defer cancel()
	resp, err := f.do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode == http.StatusOK { // with --wait
		_, err = io.Copy(cmd.OutOrStdout(), io.LimitReader(resp.Body, maxAnswer))
		return err
	}
	if resp.StatusCode != http.StatusAccepted {
		return refusal(resp)
	}
	var accepted struct{ ID string }
	err = json.NewDecoder(io.LimitReader(resp.Body, maxAnswer)).Decode(&accepted)
	if err != nil || accepted.ID == "" {
		return fmt.Errorf("%s accepted the message, but its answer has no id", f.api)
	}
	_, err = fmt.Fprintln(cmd.OutOrStdout(), accepted.ID)
	return err
}

// data returns the payload, from the one source that the command line names.
func (f *pushFlags) data(cmd *cobra.Command, text []string) (data []byte, contentType string, err error) {
	sources := len(text)
	for _, name := range []string{"file", "json"} {
		if cmd.Flag(name).Changed {
			sources++
		}
	}
	wrong := func(what string) error { return &usageError{errors.New(what), cmd.CommandPath()} }
	contentType = "text/plain; charset=utf-8"
	switch {
	case sources > 1:
		return nil, "", wrong("the data is given more than once; allowed is one of the argument, --file and --json")
	case cmd.Flag("json").Changed:
		if f.binary {
			return nil, "", wrong("--json is text; allowed is one of --json and --binary")
		}
		if data = []byte(f.json); !json.Valid(data) {
			return nil, "", wrong("--json: not valid JSON")
		}
		return data, "application/json", nil
	case len(text) == 1:
		data = []byte(text[0])
	default:
		in, err := f.open(cmd)
		if err != nil {
			return nil, "", err
		}
		defer in.Close()
		if data, err = io.ReadAll(io.LimitReader(in, push.MaxPayloadLimit+1)); err != nil {
			return nil, "", err
		}
		if len(data) > push.MaxPayloadLimit {
			return nil, "", fmt.Errorf("the data is longer than %d bytes, the most any belfry takes", push.MaxPayloadLimit)
		}
	}
	if f.binary {
		return data, "application/octet-stream", nil
	}
	if !utf8.Valid(data) {
		return nil, "", errors.New("the data is not valid UTF-8: send it with --binary")
	}
	return data, contentType, nil
}

// open opens the file of -f, or standard input.
func (f *pushFlags) open(cmd *cobra.Command) (io.ReadCloser, error) {
	if f.file == "" || f.file == "-" {
		return io.NopCloser(cmd.InOrStdin()), nil
	}
	return os.Open(f.file)
}

// pushBatch streams lines out and their answers back.
func (f *pushFlags) pushBatch(cmd *cobra.Command) error {
	in, err := f.open(cmd)
	if err != nil {
		return err
	}
	defer in.Close()
	req, cancel, err := f.push(cmd, "/v1/batch", "application/x-ndjson", io.NopCloser(in)) // its length is not known: it may be a pipe
	if err != nil {
		return err
	}
	defer cancel()
	resp, err := f.do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return refusal(resp)
	}
	return printAnswers(cmd, resp.Body)
}

// printAnswers prints the answers line by line and counts the refusals.
func printAnswers(cmd *cobra.Command, body io.Reader) error {
	answers := bufio.NewReader(body)
	lines, refused := 0, 0
	for {
		line, err := answers.ReadBytes('\n')
		if err == io.EOF && len(line) == 0 {
			break
		}
		if err != nil {
			return fmt.Errorf("the answers broke off after %d lines: %w", lines, err)
		}
		var a struct{ Error json.RawMessage }
		if err := json.Unmarshal(line, &a); err != nil {
			return fmt.Errorf("not an answer: %q", line)
		}
		lines++
		if a.Error != nil {
			refused++
		}
		if _, err := cmd.OutOrStdout().Write(line); err != nil {
			return err
		}
	}
	if refused > 0 {
		return fmt.Errorf("%d of %d lines were refused", refused, lines)
	}
	return nil
}

// push builds the request of a push. cancel ends it.
func (f *pushFlags) push(cmd *cobra.Command, path, contentType string, body io.Reader) (*http.Request, context.CancelFunc, error) {
	req, cancel, err := f.request(cmd, http.MethodPost, path, body)
	if err != nil {
		return nil, nil, err
	}
	req.Header.Set("Content-Type", contentType)
	req.Header.Set("User-Agent", "belfry-push")
	return req, cancel, nil
}
