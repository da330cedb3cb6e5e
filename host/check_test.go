package host

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"
)

// notPassed returns the findings that did not pass: name to status.
func notPassed(r Report) map[string]Status {
	found := map[string]Status{}
	for _, finding := range r.Findings {
		if finding.Status != Pass {
			found[finding.Name] = finding.Status
		}
	}
	return found
}

func TestCheck(t *testing.T) {
	listening := []Ports{{8080, 8080}, {8081, 8081}, {9000, 9009}}
	for _, tc := range []struct {
		fixture    string
		want       Want
		now, tuned Capacity
		found      map[string]Status
	}{
		{
			"good", Want{Connections: 1e6, Ports: listening},
			Capacity{1e6, "open files"},
			Capacity{held(65736192<<10, systemBytes), "memory"},
			map[string]Status{},
		},
		{
			"good", Want{Connections: 1e6 + 1},
			Capacity{1e6, "open files"},
			Capacity{held(65736192<<10, systemBytes), "memory"},
			map[string]Status{"open files": Fail},
		},
		{
			// Less memory is free than the host has: a warning.
			"small", Want{Connections: 100000, Reserve: 1096, Ports: listening},
			Capacity{3000, "open files"},
			Capacity{held(1009536<<10, systemBytes), "memory"},
			map[string]Status{
				"kernel": Warn, "cpus": Warn, "clock source": Warn, "memory": Warn, "net.ipv4.tcp_mem": Fail,
				"open files": Fail, "fs.file-max": Fail, "nf_conntrack": Fail, "net.core.somaxconn": Warn,
				"net.ipv4.tcp_max_syn_backlog": Warn, "net.core.netdev_max_backlog": Warn, "net.ipv4.ip_local_reserved_ports": Warn,
				"io_uring": Warn, "transparent_hugepage": Warn,
			},
		},
		{
			"container", Want{Connections: 90000, Ports: listening},
			Capacity{held(512<<20, belfryBytes), "cgroup memory"},
			Capacity{held(512<<20, belfryBytes), "cgroup memory"},
			map[string]Status{
				"cpus": Warn, "cgroup memory": Fail, "net.ipv4.tcp_mem": Warn, "pids.max": Warn, "net.core.somaxconn": Warn,
			},
		},
		{
			"hardened", Want{Connections: 200000, Ports: listening},
			Capacity{32768, "net.ipv4.tcp_mem"},
			Capacity{held(2<<30, belfryBytes), "cgroup memory"},
			map[string]Status{
				"net.ipv4.tcp_mem": Fail, "fs.file-max": Fail, "fs.epoll.max_user_watches": Fail,
				"net.core.somaxconn": Warn, "net.ipv4.tcp_max_syn_backlog": Warn, "net.core.netdev_max_backlog": Warn,
				"net.ipv4.tcp_ehash_entries":   Warn,
				"net.ipv4.ip_local_port_range": Warn, "net.ipv4.ip_local_reserved_ports": Warn, "io_uring": Warn,
			},
		},
	} {
		t.Run(tc.fixture, func(t *testing.T) {
			r := Check(facts(t, tc.fixture), tc.want)
			if r.Now != tc.now || r.Tuned != tc.tuned {
				t.Errorf("holds %+v, tuned %+v; want %+v and %+v", r.Now, r.Tuned, tc.now, tc.tuned)
			}
			if got := notPassed(r); !maps.Equal(got, tc.found) {
				t.Errorf("got  %v\nwant %v", got, tc.found)
			}
			for _, f := range r.Findings {
				if f.Name == "" || f.Value == "" || f.Why == "" || (f.Status == Pass) != (f.Fix == "") {
					t.Errorf("incomplete: %+v", f)
				}
			}
		})
	}
}

// TestCheckByDefault: by default the check is against what the host can hold
// now, and nothing fails; one more connection fails.
func TestCheckByDefault(t *testing.T) {
	for _, name := range []string{"good", "small", "container", "hardened"} {
		f := facts(t, name)
		r := Check(f, Want{Reserve: 1000})
		if r.Connections != r.Now.Connections || len(r.Failed()) > 0 {
			t.Errorf("%s: checked against %d, holds %+v: %+v", name, r.Connections, r.Now, r.Failed())
		}
		r = Check(f, Want{Connections: r.Now.Connections + 1, Reserve: 1000})
		if failed := r.Failed(); len(failed) == 0 || !slices.ContainsFunc(failed, func(f Finding) bool { return f.Name == r.Now.Limit }) {
			t.Errorf("%s: one more than %+v: %+v", name, r.Now, failed)
		}
	}
}

func TestFixes(t *testing.T) {
	fixes := map[string]string{}
	for name, w := range map[string]Want{
		"good":      {Connections: 2000000},
		"small":     {Connections: 100000, Reserve: 1096, Ports: []Ports{{8080, 8081}}},
		"container": {Connections: 200000},
		"hardened":  {Connections: 200000, Ports: []Ports{{8080, 8080}, {9000, 9009}}},
	} {
		f := facts(t, name)
		if name == "good" {
			f.CPUs = 16 // more CPUs than receive queues
		}
		for _, f := range Check(f, w).Findings {
			fixes[name+" "+f.Name] = f.Fix
		}
	}
	for name, want := range map[string]string{
		"small cpus":                                "nproc   # give the machine a second CPU",
		"container cpus":                            "systemctl set-property belfry.service CPUQuota=200%   # in Docker: docker update --cpus 2 NAME",
		"small clock source":                        "echo tsc > /sys/devices/system/clocksource/clocksource0/current_clocksource",
		"small open files":                          "docker run --ulimit nofile=132768 …   # this process may not raise it; whatever starts it must: a unit with LimitNOFILE=132768",
		"small fs.file-max":                         "sysctl -w fs.file-max=387144",
		"small net.ipv4.tcp_mem":                    `sysctl -w net.ipv4.tcp_mem="63096 94644 126192"`, // half of its memory
		"small nf_conntrack":                        "sysctl -w net.netfilter.nf_conntrack_max=190536",
		"small net.ipv4.ip_local_reserved_ports":    "sysctl -w net.ipv4.ip_local_reserved_ports=8080-8081",
		"good open files":                           "ulimit -n 2032768   # in the shell that starts belfry; for its unit: scripts/tune.sh persist --connections 2000000",
		"good eth0":                                 "scripts/tune.sh apply --nic eth0",
		"container cgroup memory":                   "systemctl set-property belfry.service MemoryMax=1050M   # in Docker: docker update --memory 1050M NAME",
		"container net.ipv4.tcp_mem":                "belfry doctor   # on the host itself, outside the container",
		"hardened open files":                       "",
		"hardened fs.epoll.max_user_watches":        "sysctl -w fs.epoll.max_user_watches=400000",
		"hardened net.ipv4.ip_local_reserved_ports": "sysctl -w net.ipv4.ip_local_reserved_ports=8443,9000-9004,8080,9000-9009",
		"hardened net.ipv4.ip_local_port_range":     `sysctl -w net.ipv4.ip_local_port_range="1024 65535"`,
	} {
		if got, found := fixes[name]; !found || got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
}

// TestNeeded: the connections fit into the memory that needed returns.
func TestNeeded(t *testing.T) {
	for _, n := range []int64{1, 999, 12345, 1e6, MaxConnections} {
		for _, kept := range []int64{systemBytes, belfryBytes} {
			limit := (needed(n, kept) + 1<<20 - 1) >> 20 << 20
			if got := held(limit, kept); got < n {
				t.Errorf("%d connections: %d bytes hold %d", n, limit, got)
			}
		}
	}
}

func TestThousands(t *testing.T) {
	for n, want := range map[int64]string{0: "0", 999: "999", 1000: "1,000", 1032768: "1,032,768", Unlimited: "unlimited"} {
		if got := Thousands(n); got != want {
			t.Errorf("%d: %q, want %q", n, got, want)
		}
	}
}

func TestStatusText(t *testing.T) {
	text, err := json.Marshal([]Status{Pass, Warn, Fail})
	if err != nil || string(text) != `["pass","warn","fail"]` {
		t.Errorf("%s, %v", text, err)
	}
	var back []Status
	if err := json.Unmarshal(text, &back); err != nil || !slices.Equal(back, []Status{Pass, Warn, Fail}) {
		t.Errorf("%v, %v", back, err)
	}
	if err := new(Status).UnmarshalText([]byte("fine")); err == nil || !strings.Contains(err.Error(), `"fine"`) {
		t.Errorf("got %v", err)
	}
}
