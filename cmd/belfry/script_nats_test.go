package main

import (
	"net"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/rogpeppe/go-internal/testscript"

	"belfry/bench"
)

// natsServer is an external NATS, for nodes with --nats-url. It can be stopped
// and started again at its port.
type natsServer struct {
	srv  *server.Server
	port int
}

func (s *natsServer) start() error {
	port := s.port
	if port == 0 {
		free, err := bench.FreePort() // to use them again
		if err != nil {
			return err
		}
		port = int(free.Port())
	}
	srv, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: port, NoSigs: true, NoLog: true})
	if err != nil {
		return err
	}
	srv.Start()
	if !srv.ReadyForConnections(waitLimit) {
		return os.ErrDeadlineExceeded
	}
	_, text, _ := strings.Cut(srv.Addr().String(), ":")
	s.srv = srv
	s.port, err = strconv.Atoi(text)
	return err
}

// stop cuts all connections at once, like a server that is killed.
func (s *natsServer) stop() {
	if s.srv != nil {
		s.srv.Shutdown()
		s.srv.WaitForShutdown()
		s.srv = nil
	}
}

func (s *natsServer) url() string { return "nats://127.0.0.1:" + strconv.Itoa(s.port) }

// natsMain is a NATS server in a process of its own, which listens at its argument.
func natsMain() {
	host, port, err := net.SplitHostPort(os.Args[1])
	o := &server.Options{Host: host}
	if err == nil {
		o.Port, err = strconv.Atoi(port)
	}
	if err == nil {
		var srv *server.Server
		if srv, err = server.NewServer(o); err == nil {
			srv.Start()
			srv.WaitForShutdown()
			return
		}
	}
	panic(err)
}

func cmdNATS(ts *testscript.TestScript, neg bool, args []string) {
	need(ts, args, 2, "nats NAME start|stop|pub …")
	if neg {
		ts.Fatalf("unsupported: ! nats")
	}
	st := state(ts)
	switch name := args[0]; args[1] {
	case "start":
		if st.nats[name] == nil {
			st.nats[name] = &natsServer{}
		}
		ts.Check(st.nats[name].start())
		ts.Setenv(name+"_url", st.nats[name].url())
	case "stop":
		st.nats[name].stop()
	default:
		ts.Fatalf("unknown: nats NAME %s", args[1])
	}
}

// cmdNATSPub publishes like any NATS client, without headers.
func cmdNATSPub(ts *testscript.TestScript, neg bool, args []string) {
	need(ts, args, 3, "natspub URL subject payload")
	if neg {
		ts.Fatalf("unsupported: ! natspub")
	}
	url := args[0]
	if !strings.Contains(url, "://") {
		url = "nats://" + url
	}
	nc, err := nats.Connect(url, nats.Timeout(waitLimit))
	ts.Check(err)
	defer nc.Close()
	ts.Check(nc.Publish(args[1], []byte(args[2])))
	ts.Check(nc.FlushTimeout(10 * time.Second))
}
