package broadcast

import (
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"os"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// EnvelopeRoom is the size in bytes by which a message may exceed the largest
// payload at the embedded server. The largest envelope fits into it: it has
// MaxTargetNames of the longest names, with every byte percent-encoded.
const EnvelopeRoom = 128 << 10

// serverStart is the longest time that the start of the embedded server may take.
const serverStart = 10 * time.Second

// embedded is the NATS server inside this process. It is nil with an external
// cluster.
type embedded struct {
	opt    Options // a copy; after the first start its addresses have the ports that the kernel chose
	closed bool    // it accepts no clients from outside the process
	token  string  // token of this process's connection, "" to use the credentials of Options
	log    *serverLog
	fatal  chan string

	srv atomic.Pointer[server.Server] // nil: it does not run
}

func newEmbedded(o *Options) *embedded {
	e := &embedded{opt: *o, closed: o.Embedded.Listen == "", fatal: make(chan string, 1)}
	e.log = &serverLog{log: o.Log.Named("nats-server").Sugar(), fatal: e.fatal, now: o.clock.now}
	if e.closed && e.ports() && o.User == "" && o.Token == "" {
		e.token = rand.Text()
	}
	return e
}

// ports reports whether the server listens at any address.
func (e *embedded) ports() bool {
	return e != nil && (e.opt.Embedded.Listen != "" || e.opt.Embedded.ClusterListen != "")
}

// start starts the server, which does not run. The name of the server
// contains the instance, so that it is unique even if two nodes have the same
// name: servers refuse routes to a server of the same name, and the receiver
// would then never notice the duplicate node.
func (e *embedded) start(instance string) error {
	so, err := serverOptions(&e.opt, instance)
	if err != nil {
		return err
	}
	if e.token != "" {
		so.Authorization = e.token
	}
	srv, err := server.NewServer(so)
	if err != nil {
		return fmt.Errorf("embedded NATS server: %w", err)
	}
	select {
	case <-e.fatal: // of a start before
	default:
	}
	srv.SetLoggerV2(e.log, false, false, false)
	e.srv.Store(srv)
	go srv.Start()
	if err := awaitServer(srv, e.fatal); err != nil {
		e.stop()
		return fmt.Errorf("embedded NATS server: %w", err)
	}
	keepPort(&e.opt.Embedded.Listen, e.clientAddr())
	keepPort(&e.opt.Embedded.ClusterListen, e.clusterAddr())
	return nil
}

// keepPort gives an address with port 0 the port at which the server listens, where
// others look for it.
func keepPort(address *string, now string) {
	host, port, err := net.SplitHostPort(*address)
	if _, is, err2 := net.SplitHostPort(now); err == nil && err2 == nil && port == "0" {
		*address = net.JoinHostPort(host, is)
	}
}

// InProcessConn implements nats.InProcessConnProvider.
func (e *embedded) InProcessConn() (net.Conn, error) {
	if srv := e.srv.Load(); srv != nil {
		return srv.InProcessConn()
	}
	return nil, errors.New("the embedded NATS server does not run")
}

// awaitServer returns when the server is ready, or an error that says why it is
// not.
func awaitServer(srv *server.Server, fatal <-chan string) error {
	for deadline := time.Now().Add(serverStart); time.Now().Before(deadline); {
		ready := srv.ReadyForConnections(time.Millisecond) // with more than 25 ms it sleeps that long: a successor is awaited by clients
		select {
		case detail := <-fatal: // looked at first: ReadyForConnections ignores listeners that failed
			return errors.New(detail)
		default:
		}
		if ready {
			return nil
		}
		time.Sleep(time.Millisecond)
	}
	return errors.New("not ready within " + serverStart.String())
}

// serverOptions translates o.Embedded into the options of the NATS server.
func serverOptions(o *Options, instance string) (*server.Options, error) {
	so := &server.Options{
		ServerName: o.NodeName + "-" + instance,
		DontListen: true,
		NoSigs:     true,
		MaxPayload: int32(o.MaxPayload + EnvelopeRoom),
		Username:   o.User,
		Password:   o.Password,
	}
	if o.Token != "" {
		so.Authorization = o.Token
	}
	secure, err := serverTLS(o.TLS)
	if err != nil {
		return nil, err
	}
	if o.Embedded.Listen != "" {
		so.DontListen = false
		if so.Host, so.Port, err = splitAddress("Embedded.Listen", o.Embedded.Listen); err != nil {
			return nil, err
		}
		so.TLSConfig = secure
	}
	if o.Embedded.ClusterListen == "" {
		return so, nil
	}
	if so.DontListen {
		// nats-server v2.15 starts routing only after its client listener, and
		// never with DontListen. So it gets a client listener on loopback. Its
		// address is not announced, and without credentials in o it requires a
		// random token.
		so.DontListen, so.Host, so.Port = false, loopback(net.Listen), server.RANDOM_PORT
	}
	c := &so.Cluster
	c.NoAdvertise = o.Embedded.Listen == ""
	c.Name, c.Username, c.Password = o.Embedded.ClusterName, o.Embedded.ClusterUser, o.Embedded.ClusterPass
	if c.Host, c.Port, err = splitAddress("Embedded.ClusterListen", o.Embedded.ClusterListen); err != nil {
		return nil, err
	}
	c.TLSConfig = secure
	if c.Advertise = o.Embedded.ClusterAdvertise; c.Advertise == "" {
		c.Advertise = advertised(c.Host, c.Port)
	}
	for _, route := range o.Embedded.Routes {
		u, err := url.Parse(route)
		if err != nil || u.Host == "" {
			return nil, badOption("Embedded.Routes", fmt.Sprintf("%q; allowed are nats://[user:password@]host:port", route))
		}
		if u.User == nil && c.Username != "" { // all nodes have the same credentials
			u.User = url.UserPassword(c.Username, c.Password)
		}
		so.Routes = append(so.Routes, u)
	}
	return so, nil
}

// loopback returns a loopback address of this host. A host without IPv4 has only
// ::1.
func loopback(listen func(network, address string) (net.Listener, error)) string {
	for _, host := range []string{"127.0.0.1", "::1"} {
		if l, err := listen("tcp", net.JoinHostPort(host, "0")); err == nil {
			l.Close()
			return host
		}
	}
	return "127.0.0.1" // the server will report why it cannot listen there
}

// advertised returns the address that a server listening for routes at host tells
// to other servers, "" if host is a wildcard or has a zone. Without it they use
// the address from which this server connects, which may be a different address
// of the host. A name is not resolved, since certificates may be issued for it.
func advertised(host string, port int) string {
	if host == "" {
		return ""
	}
	if a, err := netip.ParseAddr(host); err == nil && (a.IsUnspecified() || a.Zone() != "") {
		return ""
	}
	return net.JoinHostPort(host, strconv.Itoa(max(port, 0)))
}

// splitAddress parses host:port. With port 0 the kernel chooses a port.
func splitAddress(field, address string) (string, int, error) {
	host, p, err := net.SplitHostPort(address)
	if err != nil {
		return "", 0, badOption(field, fmt.Sprintf("%q; allowed is host:port", address))
	}
	port, err := strconv.ParseUint(p, 10, 16)
	if err != nil {
		return "", 0, badOption(field, fmt.Sprintf("port %q; allowed are 0 to 65535", p))
	}
	if port == 0 {
		return host, server.RANDOM_PORT, nil
	}
	return host, int(port), nil
}

// serverTLS returns nil without a certificate. With a CA the other side must
// present a certificate that the CA signed.
func serverTLS(t TLS) (*tls.Config, error) {
	if t.Cert == "" {
		return nil, nil
	}
	pair, err := tls.LoadX509KeyPair(t.Cert, t.Key)
	if err != nil {
		return nil, fmt.Errorf("NATS certificate: %w", err)
	}
	c := &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{pair}}
	if t.CA != "" {
		pem, err := os.ReadFile(t.CA)
		if err != nil {
			return nil, fmt.Errorf("NATS CA: %w", err)
		}
		pool := x509.NewCertPool()
		if !pool.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("NATS CA %s: the file contains no certificate", t.CA)
		}
		c.RootCAs, c.ClientCAs, c.ClientAuth = pool, pool, tls.RequireAndVerifyClientCert
	}
	return c, nil
}

func (e *embedded) clientAddr() string {
	if e == nil || e.closed {
		return ""
	}
	return addressOf(e.srv.Load(), (*server.Server).Addr)
}

func (e *embedded) clusterAddr() string {
	if e == nil {
		return ""
	}
	return addressOf(e.srv.Load(), func(s *server.Server) net.Addr {
		if a := s.ClusterAddr(); a != nil { // a nil *net.TCPAddr is no nil net.Addr
			return a
		}
		return nil
	})
}

func addressOf(srv *server.Server, address func(*server.Server) net.Addr) string {
	if srv == nil {
		return ""
	}
	if a := address(srv); a != nil {
		return a.String()
	}
	return ""
}

// stop ends the server and waits for its goroutines. Then its ports are free.
func (e *embedded) stop() {
	if e == nil {
		return
	}
	if srv := e.srv.Swap(nil); srv != nil {
		srv.Shutdown()
		srv.WaitForShutdown()
	}
}
