package host

import (
	"os"
	"reflect"
	"testing"
	"testing/fstest"
)

func TestRead(t *testing.T) {
	for name, want := range map[string]Facts{
		"good": {
			Kernel: "6.12.9-amd64", CPUs: 8, ClockSource: "tsc", ClockSources: []string{"tsc", "hpet", "acpi_pm"},
			MemoryTotal: 65736192 << 10, MemoryAvailable: 62003456 << 10, PageSize: 4096,
			Cgroup:      Cgroup{Version: 2, Memory: Unlimited, PIDs: 76989},
			Descriptors: Limit{1032768, 1032768}, MayRaiseLimits: true,
			FileMax: Unlimited, FilesOpen: 2208, NrOpen: 1073741816, EpollWatches: 14680064,
			AcceptQueue: 65535, SYNBacklog: 65535, PacketQueue: 65536, SocketTable: 524288, LocalPorts: Ports{1024, 65535},
			ReservedPorts: []Ports{{8080, 8081}, {9000, 9019}},
			TCPMemory:     [3]int64{1000000, 1500000, 2000000},
			ConntrackMax:  1315536, ConntrackEntries: 4711, HugePages: "madvise",
			NICs: []NIC{{Name: "eth0", RxQueues: 8}},
		},
		"small": {
			Kernel: "4.19.0-27-amd64", CPUs: 1, ClockSource: "xen", ClockSources: []string{"xen", "tsc", "hpet", "acpi_pm"},
			MemoryTotal: 1009536 << 10, MemoryAvailable: 300000 << 10, PageSize: 4096,
			Cgroup:      Cgroup{Version: 1, Memory: Unlimited, PIDs: Unlimited},
			Descriptors: Limit{1024, 4096},
			FileMax:     98432, FilesOpen: 1024, NrOpen: 1048576, EpollWatches: 201584,
			AcceptQueue: 128, SYNBacklog: 128, PacketQueue: 1000, LocalPorts: Ports{1024, 65535},
			TCPMemory:    [3]int64{10950, 14603, 21900},
			ConntrackMax: 7680, ConntrackEntries: 12, HugePages: "always",
			NICs: []NIC{{Name: "eth0", RxQueues: 1}},
		},
		"container": {
			Kernel: "6.8.0-45-generic", CPUs: 16, ClockSource: "tsc",
			MemoryTotal: 65736192 << 10, MemoryAvailable: 52003456 << 10, PageSize: 4096,
			Cgroup:      Cgroup{Version: 2, Memory: 512 << 20, CPUs: 1.5, PIDs: 100},
			Descriptors: Limit{1048576, 1048576},
			FileMax:     Unlimited, FilesOpen: 9600, NrOpen: 1048576, EpollWatches: 14540032,
			AcceptQueue: 4096, SYNBacklog: 4096, LocalPorts: Ports{32768, 60999}, HugePages: "madvise",
		},
		"hardened": {
			Kernel: "6.1.0-26-cloud-arm64", CPUs: 4, ClockSource: "arch_sys_counter",
			MemoryTotal: 16384000 << 10, MemoryAvailable: 15000000 << 10, PageSize: 4096,
			Cgroup:      Cgroup{Version: 2, Memory: 2 << 30, CPUs: 4, PIDs: 512},
			Descriptors: Limit{1024, Unlimited}, MayRaiseLimits: true,
			FileMax: 65536, FilesOpen: 1536, NrOpen: 65536, EpollWatches: 40000,
			AcceptQueue: 128, SYNBacklog: 512, PacketQueue: 1000, SocketTable: 65536, LocalPorts: Ports{8000, 9010},
			ReservedPorts: []Ports{{8443, 8443}, {9000, 9004}},
			TCPMemory:     [3]int64{4096, 6144, 8192}, ConntrackMax: 65536, HugePages: "never", IOURingDisabled: 2,
			NICs: []NIC{{Name: "ens5", RxQueues: 2, RPS: true}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			got := facts(t, name)
			if len(got.ClockSources) == 0 {
				got.ClockSources = nil
			}
			if !reflect.DeepEqual(got, want) {
				t.Errorf("got  %+v\nwant %+v", got, want)
			}
		})
	}
}

// TestReadCgroups has forms that the fixtures do not have.
func TestReadCgroups(t *testing.T) {
	for name, tc := range map[string]struct {
		files map[string]string
		want  Cgroup
	}{
		"none": {map[string]string{}, Cgroup{}},
		"no mount": {map[string]string{
			"proc/self/cgroup": "0::/x\n",
		}, Cgroup{}},
		"version 1 without a namespace: the path is the host's, the mount is our own": {map[string]string{
			"proc/self/cgroup":                           "5:memory:/docker/abc\n4:cpu,cpuacct:/docker/abc\n3:pids:/docker/abc\n",
			"sys/fs/cgroup/memory/memory.limit_in_bytes": "1073741824\n",
			"sys/fs/cgroup/cpu/cpu.cfs_quota_us":         "50000\n",
			"sys/fs/cgroup/cpu/cpu.cfs_period_us":        "100000\n",
			"sys/fs/cgroup/pids/pids.max":                "64\n",
		}, Cgroup{Version: 1, Memory: 1 << 30, CPUs: 0.5, PIDs: 64}},
		"both versions, memory with version 2": {map[string]string{
			"proc/self/cgroup":                               "3:pids:/a\n0::/a/b\n",
			"sys/fs/cgroup/pids/a/pids.max":                  "99\n",
			"sys/fs/cgroup/unified/a/memory.max":             "1048576\n",
			"sys/fs/cgroup/unified/a/b/memory.max":           "max\n",
			"sys/fs/cgroup/unified/cgroup.controllers":       "memory\n",
			"sys/fs/cgroup/unified/another/b/memory.max":     "1\n",
			"sys/fs/cgroup/unified/a/b/beneath/b/memory.max": "1\n",
		}, Cgroup{Version: 2, Memory: 1 << 20, PIDs: 99}},
	} {
		t.Run(name, func(t *testing.T) {
			root := fstest.MapFS{}
			for file, text := range tc.files {
				root[file] = &fstest.MapFile{Data: []byte(text)}
			}
			if got := Read(root).Cgroup; got != tc.want {
				t.Errorf("got %+v, want %+v", got, tc.want)
			}
		})
	}
}

func TestReadNothing(t *testing.T) {
	got := Read(fstest.MapFS{})
	got.ClockSources = nil
	if want := (Facts{PageSize: 4096}); !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v", got)
	}
	if r := Check(got, Want{Connections: 1}); len(r.Findings) == 0 {
		t.Error("nothing found")
	}
}

// TestLive checks facts that every host has.
func TestLive(t *testing.T) {
	f := Live()
	if f.Kernel == "" || f.CPUs < 1 || f.MemoryTotal < 1<<20 || f.Descriptors.Hard < 1 || f.Descriptors.Soft > f.Descriptors.Hard ||
		f.PageSize != int64(os.Getpagesize()) || f.AcceptQueue < 1 || f.NrOpen < 1 {
		t.Errorf("got %+v", f)
	}
}
