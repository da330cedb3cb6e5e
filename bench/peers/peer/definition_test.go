package peer

import (
	"encoding/binary"
	"encoding/json"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"belfry/bench"
)

var places = Places{Binary: "/opt/server", Dir: "/var/dir",
	Listen: netip.MustParseAddrPort("127.0.0.1:7001"), API: netip.MustParseAddrPort("127.0.0.1:7002")}

func external(t *testing.T, name string) *Definition {
	t.Helper()
	all, err := External()
	if err != nil {
		t.Fatal(err)
	}
	if all[name] == nil {
		t.Fatalf("no definition of %s", name)
	}
	d, err := all[name].Render(places)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestCentrifugo(t *testing.T) {
	d := external(t, "centrifugo")
	if got, want := strings.Join(d.Command, " "), "/opt/server --config /var/dir/config.json"; got != want {
		t.Errorf("command %s, want %s", got, want)
	}
	var config struct {
		Server struct {
			Port         int    `json:"port"`
			InternalPort string `json:"internal_port"`
		} `json:"http_server"`
		API struct {
			Key string `json:"key"`
		} `json:"http_api"`
	}
	if err := json.Unmarshal([]byte(d.Files["config.json"]), &config); err != nil {
		t.Fatalf("config.json: %v\n%s", err, d.Files["config.json"])
	}
	if config.Server.Port != 7001 || config.Server.InternalPort != "7002" {
		t.Errorf("ports %+v", config.Server)
	}
	if d.Ready != "http://127.0.0.1:7002/health" {
		t.Errorf("ready %s", d.Ready)
	}
	for _, r := range []*Request{d.All, d.User} {
		if key := "X-API-Key: " + config.API.Key; config.API.Key == "" || !slices.Contains(r.Headers, key) {
			t.Errorf("headers %q, want %s", r.Headers, key)
		}
	}
	var hello struct {
		ID      int
		Connect struct{ Subs map[string]struct{} }
	}
	text := bench.ParseTemplate(d.Wire.OnOpen[0]).Append(nil, bench.Values{User: 7})
	if err := json.Unmarshal(text, &hello); err != nil || hello.ID == 0 {
		t.Errorf("%s: %v; want a command with an id", text, err)
	}
	for _, r := range []*Request{d.All, d.User} {
		var publish struct{ Channel string }
		text := bench.ParseTemplate(r.Body).Append(nil, bench.Values{User: 7, Payload: bench.AppendPayload(nil, bench.Direct, 1, 1, 128)})
		if err := json.Unmarshal(text, &publish); err != nil {
			t.Errorf("%s: %v", text, err)
		}
		if _, ok := hello.Connect.Subs[publish.Channel]; !ok {
			t.Errorf("publishes to %q, clients subscribe to %v", publish.Channel, hello.Connect.Subs)
		}
	}
}

func TestGoimPacket(t *testing.T) {
	d := external(t, "goim")
	p := []byte(d.Wire.OnOpen[0])
	if n := int(binary.BigEndian.Uint32(p)); n != len(p) {
		t.Errorf("packet length %d in a packet of %d bytes", n, len(p))
	}
	if head, op := binary.BigEndian.Uint16(p[4:]), binary.BigEndian.Uint32(p[8:]); head != 16 || op != 7 {
		t.Errorf("header of %d bytes, operation %d; want 16 and 7", head, op)
	}
	if !json.Valid(p[16:]) {
		t.Errorf("the body is no JSON: %s", p[16:])
	}
	if !strings.Contains(d.Files["comet.toml"], `bind = ["127.0.0.1:7001"]`) {
		t.Error("comet.toml lacks the address")
	}
}

func TestServerOfYourOwn(t *testing.T) {
	d := external(t, "uwebsockets")
	if got, want := strings.Join(d.Command, " "), "/opt/server --listen 127.0.0.1:7001 --api 127.0.0.1:7002"; got != want {
		t.Errorf("command %s, want %s", got, want)
	}
	if d.Wire.Path != "/ws?uid={uid}" || d.All.Path != "/v1/all" || d.User.Path != "/v1/users/{uid}" {
		t.Errorf("%+v %+v %+v", d.Wire, d.All, d.User)
	}
}

func TestOwnDefinitionsAreValid(t *testing.T) {
	all := []*Definition{ForBelfry(2), ForSocketIO([]string{"node", "server.js"})}
	for _, name := range Libraries() {
		all = append(all, ForLibrary(name))
	}
	for _, d := range all {
		if err := d.Check(); err != nil {
			t.Error(err)
		}
	}
}

func TestParseNamesTheField(t *testing.T) {
	const good = "name: x\ncommand: [\"{binary}\"]\nwire: {path: /ws}\nall: {path: /p}\n"
	if _, err := Parse([]byte(good)); err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]string{
		strings.Replace(good, "name: x", "name: a b", 1):          "name",
		strings.Replace(good, "[\"{binary}\"]", "[]", 1):          "command",
		strings.Replace(good, "/ws", "ws", 1):                     "wire.path",
		strings.Replace(good, "all:", "user:", 1):                 "all",
		strings.Replace(good, "path: /p", "path: p", 1):           "all.path",
		strings.Replace(good, "/p", "/p, subject: s", 1):          "path and subject",
		strings.Replace(good, "/p", "/p, body: x", 1):             "{payload}",
		good + "user: {path: /u}\n":                               "{uid}",
		good + "listen: somewhere\n":                              "listen",
		good + "port: 1\n":                                        "port",
		strings.Replace(good, "/ws", "/ws, ready: x", 1):          "wire.wrapped",
		strings.Replace(good, "/ws", "/ws, users: 5", 1):          "wire.users",
		strings.Replace(good, "name: x", "name: [unclosed", 1):    "definition",
		strings.Replace(good, "/ws", "/ws, on_opens: [x]", 1):     "on_opens",
		strings.Replace(good, "{path: /p}", "{subject: \"\"}", 1): "path and subject",
	} {
		if _, err := Parse([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s\ngot %v, want an error with %q", text, err, want)
		}
	}
}

func TestRenderNeedsTheProgram(t *testing.T) {
	if _, err := ForBelfry(1).Render(Places{}); err == nil {
		t.Error("rendered without a program for {binary}")
	}
}
