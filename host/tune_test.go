package host

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

const tuneScript = "../scripts/tune.sh"

// tune runs scripts/tune.sh and returns what it printed and its exit status.
func tune(t *testing.T, command string, args ...string) (string, int) {
	t.Helper()
	if _, err := os.ReadFile(tuneScript); err != nil { // tells go test that the result depends on the script
		t.Fatal(err)
	}
	return run(t, exec.Command("bash", append([]string{tuneScript, command}, args...)...))
}

func run(t *testing.T, cmd *exec.Cmd) (string, int) {
	t.Helper()
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Skip(err) // no bash here
	}
	return string(out), cmd.ProcessState.ExitCode()
}

// contents maps every file below a directory to its contents.
func contents(t *testing.T, dir string) map[string]string {
	t.Helper()
	files := map[string]string{}
	err := filepath.Walk(dir, func(name string, info os.FileInfo, err error) error {
		if err == nil && info.Mode().IsRegular() {
			data, _ := os.ReadFile(name)
			files[strings.TrimPrefix(name, dir)] = strings.Join(strings.Fields(string(data)), " ")
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func equal(t *testing.T, what string, got, want map[string]string) {
	t.Helper()
	for name, value := range want {
		if _, found := got[name]; !found || got[name] != value {
			t.Errorf("%s: %s is %q, want %q", what, name, got[name], value)
		}
	}
	for name := range got {
		if _, found := want[name]; !found {
			t.Errorf("%s: %s is left behind", what, name)
		}
	}
}

// TestTune tunes copies of the fixtures: after apply, doctor finds everything
// in order, and revert restores the old values.
func TestTune(t *testing.T) {
	for _, name := range []string{"good", "small", "hardened"} {
		t.Run(name, func(t *testing.T) {
			root := fixture(t, name)
			enabled := filepath.Join(root, "sys/kernel/mm/transparent_hugepage/enabled")
			before := contents(t, root)
			flags := []string{"--root", root, "--connections", "150000", "--ports", "8080-8081,9000-9009"}
			if out, status := tune(t, "plan", flags...); status != 0 || !strings.Contains(out, "LimitNOFILE") {
				t.Fatalf("plan: %d\n%s", status, out)
			}
			equal(t, "plan", contents(t, root), before)

			// The fixtures have only the files that doctor reads.
			if out, status := tune(t, "apply", flags...); status != 3 || !strings.Contains(out, "\nskipped: net.ipv4.tcp_tw_reuse: ") {
				t.Fatalf("apply: %d\n%s", status, out)
			}
			once := contents(t, root)
			if out, status := tune(t, "apply", flags...); status != 3 || !strings.Contains(out, "\n0 set, ") {
				t.Fatalf("apply again: %d\n%s", status, out)
			}
			equal(t, "apply again", contents(t, root), once)
			if out, status := tune(t, "verify", flags...); status != 3 || !strings.Contains(out, "\n0 differ, ") {
				t.Fatalf("verify: %d\n%s", status, out)
			}
			if name == "good" && (once["/proc/sys/net/ipv4/tcp_fin_timeout"] != "9" || once["/proc/sys/net/ipv4/tcp_keepalive_time"] != "300") {
				t.Errorf("least values: %v", once)
			}
			r := Check(Read(os.DirFS(root)), Want{Connections: 150000, Ports: []Ports{{8080, 8081}, {9000, 9009}}})
			for _, f := range r.Findings {
				if f.Status != Pass && strings.HasPrefix(f.Fix, "sysctl -w") && f.Name != "io_uring" {
					t.Errorf("not fixed: %+v", f)
				}
			}
			if name == "small" && strings.TrimSpace(read(t, enabled)) != "madvise" {
				t.Errorf("huge pages: %s", read(t, enabled))
			}

			// revert restores the values from before the first apply.
			if out, status := tune(t, "apply", "--root", root, "--connections", "6000000"); status != 3 || strings.Contains(out, "\n0 set, ") {
				t.Fatalf("apply for more: %d\n%s", status, out)
			}
			if out, status := tune(t, "revert", flags...); status != 0 {
				t.Fatalf("revert: %d\n%s", status, out)
			}
			if name == "small" { // the kernel writes the brackets
				before["/sys/kernel/mm/transparent_hugepage/enabled"] = "always"
			}
			equal(t, "revert", contents(t, root), before)
		})
	}
}

func read(t *testing.T, file string) string {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// TestTuneSets compares the commands that doctor prints with the plan of the
// script.
func TestTuneSets(t *testing.T) {
	for _, name := range []string{"small", "hardened"} {
		root := fixture(t, name)
		plan, _ := tune(t, "plan", "--root", root, "--connections", "150000", "--ports", "8080")
		found := 0
		for _, f := range Check(facts(t, name), Want{Connections: 150000, Ports: []Ports{{8080, 8080}}}).Findings {
			assignment, ok := strings.CutPrefix(f.Fix, "sysctl -w ")
			if !ok || f.Name == "io_uring" { // permission is not part of tuning
				continue
			}
			sysctl, value, _ := strings.Cut(assignment, "=")
			found++
			line := regexp.MustCompile(`(?m)^  set  ` + regexp.QuoteMeta(sysctl) + ` .* → ` + strings.Trim(value, `"`) + `$`)
			if !line.MatchString(plan) {
				t.Errorf("%s: %s is not in the plan:\n%s", name, f.Fix, plan)
			}
		}
		if found < 4 {
			t.Errorf("%s: only %d commands", name, found)
		}
	}
}

// TestTunePersist: files that set the same values at boot, without settings
// that are already better.
func TestTunePersist(t *testing.T) {
	root := fixture(t, "good")
	before := contents(t, root)
	flags := []string{"--root", root, "--connections", "2000000", "--unit", "edge.service"}
	tune(t, "apply", flags...) // the present value was set by apply
	out, status := tune(t, "persist", flags...)
	if status != 3 || !strings.Contains(out, "left out: fs.file-max: ") {
		t.Errorf("%d\n%s", status, out)
	}
	settings := read(t, filepath.Join(root, "etc/sysctl.d/90-belfry.conf"))
	for _, line := range []string{"-net.ipv4.tcp_mem = 2000000 3000000 4000000", "-net.netfilter.nf_conntrack_max = 2565536"} {
		if !strings.Contains(settings, "\n"+line+"\n") {
			t.Errorf("%s is missing:\n%s", line, settings)
		}
	}
	if strings.Contains(settings, "fs.nr_open") || strings.Contains(settings, "tcp_tw_reuse") {
		t.Errorf("too much:\n%s", settings)
	}
	for file, text := range map[string]string{
		"etc/systemd/system/edge.service.d/90-belfry-limits.conf": "[Service]\nLimitNOFILE=2032768\n",
		"etc/modprobe.d/90-belfry.conf":                           "options nf_conntrack hashsize=2565536\n",
		"etc/tmpfiles.d/90-belfry.conf":                           "w /sys/kernel/mm/transparent_hugepage/enabled - - - - madvise\n",
	} {
		if got := read(t, filepath.Join(root, file)); !strings.HasSuffix(got, "\n"+text) {
			t.Errorf("%s:\n%s", file, got)
		}
	}
	if out, status := tune(t, "revert", flags...); status != 0 {
		t.Errorf("revert: %d\n%s", status, out)
	}
	equal(t, "revert", contents(t, root), before)

	// A file of that name that persist did not write stays.
	theirs := filepath.Join(root, "etc/sysctl.d/90-belfry.conf")
	if err := os.WriteFile(theirs, []byte("fs.nr_open = 2000000\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, status := tune(t, "persist", flags...); status != 1 || !strings.Contains(out, "not written by tune.sh") {
		t.Errorf("over a file of another program: %d\n%s", status, out)
	}
	tune(t, "revert", flags...)
	if read(t, theirs) != "fs.nr_open = 2000000\n" {
		t.Error("a file of another program was changed")
	}
}

// TestTuneNIC: a network card with fewer queues than there are CPUs.
func TestTuneNIC(t *testing.T) {
	root := fixture(t, "good")
	for file, text := range map[string]string{
		"sys/devices/system/cpu/online":               "0-33",
		"proc/sys/net/core/rps_sock_flow_entries":     "0",
		"sys/class/net/eth0/queues/rx-0/rps_cpus":     "0,00000000",
		"sys/class/net/eth0/queues/rx-1/rps_cpus":     "3,ffffffff",
		"sys/class/net/eth0/device/msi_irqs/41":       "msix",
		"sys/class/net/eth0/device/msi_irqs/42":       "msix",
		"sys/class/net/eth0/queues/rx-0/rps_flow_cnt": "0",
		"proc/irq/41/smp_affinity_list":               "0-33",
		"proc/irq/42/smp_affinity_list":               "0-33",
	} {
		file = filepath.Join(root, file)
		if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o700), os.WriteFile(file, []byte(text+"\n"), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	before := contents(t, root)
	out, status := tune(t, "apply", "--root", root, "--nic", "eth0", "--connections", "1000000")
	for file, want := range map[string]string{
		"proc/sys/net/core/rps_sock_flow_entries":     "32768",
		"sys/class/net/eth0/queues/rx-0/rps_cpus":     "00000003,ffffffff",
		"sys/class/net/eth0/queues/rx-1/rps_cpus":     "3,ffffffff", // which is the same
		"sys/class/net/eth0/queues/rx-0/rps_flow_cnt": "4096",
		"proc/irq/41/smp_affinity_list":               "0",
		"proc/irq/42/smp_affinity_list":               "1",
	} {
		if got := strings.TrimSpace(read(t, filepath.Join(root, file))); got != want {
			t.Errorf("%s: %q, want %q\n%d %s", file, got, want, status, out)
		}
	}
	if f := Read(os.DirFS(root)); !f.NICs[0].RPS {
		t.Errorf("doctor sees %+v", f.NICs)
	}
	if out, status := tune(t, "revert", "--root", root); status != 0 {
		t.Errorf("revert: %d\n%s", status, out)
	}
	equal(t, "revert", contents(t, root), before)
}

func TestTuneUsage(t *testing.T) {
	root := fixture(t, "good")
	for _, tc := range [][]string{
		{"wibble"}, {"plan", "--wibble"}, {"plan", "--connections"}, {"plan", "--connections", "0"}, {"plan", "--connections", "16777217"},
		{"plan", "--connections", "-1"}, {"plan", "--ports", "http"}, {"plan", "--ports", "1;2"}, {"plan", "--ports", "08080"}, {"apply", "--nic", "eth9", "--root", root},
	} {
		out, status := tune(t, tc[0], tc[1:]...)
		if status != 2 || out == "" {
			t.Errorf("%q: %d %s", tc, status, out)
		}
	}
	if out, status := tune(t, "--help"); status != 0 || !strings.Contains(out, "exit status:") {
		t.Errorf("--help: %d %s", status, out)
	}
}

// TestTuneNamespace sets the sysctls of a new network namespace, in which other
// sysctls are missing or read-only. Those of the whole host are copies.
func TestTuneNamespace(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root")
	}
	const probe = "echo 60 > /proc/sys/net/ipv4/tcp_fin_timeout"
	if out, err := exec.Command("unshare", "--net", "sh", "-c", probe).CombinedOutput(); err != nil {
		t.Skipf("no network namespace to set anything in: %v: %s", err, out)
	}
	root := fixture(t, "small")
	net := filepath.Join(root, "proc/sys/net")
	if err := errors.Join(os.RemoveAll(net), os.Symlink("/proc/sys/net", net)); err != nil {
		t.Fatal(err)
	}
	script, err := filepath.Abs("testdata/namespace.sh")
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("unshare", "--net", "bash", script, root)
	cmd.Env = append(os.Environ(), "BELFRY_TUNE_STATE="+filepath.Join(t.TempDir(), "state"))
	if out, status := run(t, cmd); status != 0 || !strings.HasSuffix(out, "all as it was\n") {
		t.Errorf("%d\n%s", status, out)
	}
}
