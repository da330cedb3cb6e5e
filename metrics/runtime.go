package metrics

import (
	"bytes"
	"fmt"
	"os"
	"reflect"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// runtimeValues are the metrics of the Go runtime and of the process, by the
// names that Prometheus' client libraries give them. What cannot be read is 0.
type runtimeValues struct {
	Go      goValues
	Memory  memoryValues
	Process processValues
}

// summary is a distribution by quantiles.
type summary struct {
	count     uint64
	sum       float64
	quantiles map[float64]float64
}

type goValues struct {
	Info       map[string]uint64 `metric:"go_info" type:"gauge" label:"version" help:"Information about the Go environment."`
	Goroutines uint64            `metric:"go_goroutines" type:"gauge" help:"Number of goroutines that currently exist."`
	Threads    uint64            `metric:"go_threads" type:"gauge" help:"Number of OS threads created."`
	GCDuration summary           `metric:"go_gc_duration_seconds" type:"summary" help:"Pauses of garbage collection cycles."`
	GOGC       uint64            `metric:"go_gc_gogc_percent" type:"gauge" read:"/gc/gogc:percent" help:"Heap size target of the collector (GOGC)."`
	MemLimit   uint64            `metric:"go_gc_gomemlimit_bytes" type:"gauge" read:"/gc/gomemlimit:bytes" help:"Memory limit of the Go runtime (GOMEMLIMIT)."`
	MaxProcs   uint64            `metric:"go_sched_gomaxprocs_threads" type:"gauge" read:"/sched/gomaxprocs:threads" help:"Threads that may execute Go code at the same time (GOMAXPROCS)."`
}

// memoryValues are runtime.MemStats, read without stopping the program. The tag
// read names the metrics of package runtime/metrics whose sum a value is.
type memoryValues struct {
	Alloc        uint64  `metric:"go_memstats_alloc_bytes" type:"gauge" read:"/memory/classes/heap/objects:bytes" help:"Bytes of heap objects, those not yet swept included."`
	AllocTotal   uint64  `metric:"go_memstats_alloc_bytes_total" type:"counter" read:"/gc/heap/allocs:bytes" help:"Bytes allocated for heap objects, freed ones included."`
	Sys          uint64  `metric:"go_memstats_sys_bytes" type:"gauge" read:"/memory/classes/total:bytes" help:"Bytes obtained from the system."`
	Mallocs      uint64  `metric:"go_memstats_mallocs_total" type:"counter" read:"/gc/heap/allocs:objects /gc/heap/tiny/allocs:objects" help:"Heap objects allocated."`
	Frees        uint64  `metric:"go_memstats_frees_total" type:"counter" read:"/gc/heap/frees:objects /gc/heap/tiny/allocs:objects" help:"Heap objects freed."`
	HeapAlloc    uint64  `metric:"go_memstats_heap_alloc_bytes" type:"gauge" read:"/memory/classes/heap/objects:bytes" help:"Bytes of heap objects, those not yet swept included."`
	HeapSys      uint64  `metric:"go_memstats_heap_sys_bytes" type:"gauge" read:"/memory/classes/heap/objects:bytes /memory/classes/heap/unused:bytes /memory/classes/heap/released:bytes /memory/classes/heap/free:bytes" help:"Bytes of heap obtained from the system."`
	HeapIdle     uint64  `metric:"go_memstats_heap_idle_bytes" type:"gauge" read:"/memory/classes/heap/released:bytes /memory/classes/heap/free:bytes" help:"Bytes of heap spans without objects."`
	HeapInuse    uint64  `metric:"go_memstats_heap_inuse_bytes" type:"gauge" read:"/memory/classes/heap/objects:bytes /memory/classes/heap/unused:bytes" help:"Bytes of heap spans with objects."`
	HeapReleased uint64  `metric:"go_memstats_heap_released_bytes" type:"gauge" read:"/memory/classes/heap/released:bytes" help:"Bytes of heap given back to the system."`
	HeapObjects  uint64  `metric:"go_memstats_heap_objects" type:"gauge" read:"/gc/heap/objects:objects" help:"Heap objects that are allocated now."`
	StackInuse   uint64  `metric:"go_memstats_stack_inuse_bytes" type:"gauge" read:"/memory/classes/heap/stacks:bytes" help:"Bytes of stacks from the heap."`
	StackSys     uint64  `metric:"go_memstats_stack_sys_bytes" type:"gauge" read:"/memory/classes/heap/stacks:bytes /memory/classes/os-stacks:bytes" help:"Bytes of stacks obtained from the system."`
	MSpanInuse   uint64  `metric:"go_memstats_mspan_inuse_bytes" type:"gauge" read:"/memory/classes/metadata/mspan/inuse:bytes" help:"Bytes of mspan structures in use."`
	MSpanSys     uint64  `metric:"go_memstats_mspan_sys_bytes" type:"gauge" read:"/memory/classes/metadata/mspan/inuse:bytes /memory/classes/metadata/mspan/free:bytes" help:"Bytes of mspan structures obtained from the system."`
	MCacheInuse  uint64  `metric:"go_memstats_mcache_inuse_bytes" type:"gauge" read:"/memory/classes/metadata/mcache/inuse:bytes" help:"Bytes of mcache structures in use."`
	MCacheSys    uint64  `metric:"go_memstats_mcache_sys_bytes" type:"gauge" read:"/memory/classes/metadata/mcache/inuse:bytes /memory/classes/metadata/mcache/free:bytes" help:"Bytes of mcache structures obtained from the system."`
	BuckHashSys  uint64  `metric:"go_memstats_buck_hash_sys_bytes" type:"gauge" read:"/memory/classes/profiling/buckets:bytes" help:"Bytes of the hash table of profiling buckets."`
	GCSys        uint64  `metric:"go_memstats_gc_sys_bytes" type:"gauge" read:"/memory/classes/metadata/other:bytes" help:"Bytes of metadata of the collector."`
	OtherSys     uint64  `metric:"go_memstats_other_sys_bytes" type:"gauge" read:"/memory/classes/other:bytes" help:"Bytes of other allocations from the system."`
	NextGC       uint64  `metric:"go_memstats_next_gc_bytes" type:"gauge" read:"/gc/heap/goal:bytes" help:"Heap size at which the next collection begins."`
	LastGC       float64 `metric:"go_memstats_last_gc_time_seconds" type:"gauge" help:"Unix time of the last collection."`
}

type processValues struct {
	CPU      float64 `metric:"process_cpu_seconds_total" type:"counter" help:"User and system CPU time in seconds."`
	OpenFDs  uint64  `metric:"process_open_fds" type:"gauge" help:"Open file descriptors."`
	MaxFDs   uint64  `metric:"process_max_fds" type:"gauge" help:"Most file descriptors that may be open."`
	Virtual  uint64  `metric:"process_virtual_memory_bytes" type:"gauge" help:"Virtual memory in bytes."`
	MaxVirt  uint64  `metric:"process_virtual_memory_max_bytes" type:"gauge" help:"Most virtual memory in bytes; 18446744073709551615 is no limit."`
	Resident uint64  `metric:"process_resident_memory_bytes" type:"gauge" help:"Resident memory in bytes."`
	Start    float64 `metric:"process_start_time_seconds" type:"gauge" help:"Unix time at which the process started."`
	Received uint64  `metric:"process_network_receive_bytes_total" type:"counter" help:"Bytes that the network namespace of the process received over IPv4."`
	Sent     uint64  `metric:"process_network_transmit_bytes_total" type:"counter" help:"Bytes that the network namespace of the process sent over IPv4."`
}

// readRuntime reads all of them.
func readRuntime() (v runtimeValues) {
	v.Go.Info = map[string]uint64{runtime.Version(): 1}
	v.Go.Goroutines = uint64(runtime.NumGoroutine())
	threads, _ := runtime.ThreadCreateProfile(nil)
	v.Go.Threads = uint64(threads)
	gc := debug.GCStats{PauseQuantiles: make([]time.Duration, 5)}
	debug.ReadGCStats(&gc)
	v.Go.GCDuration = summary{count: uint64(gc.NumGC), sum: gc.PauseTotal.Seconds(), quantiles: map[float64]float64{}}
	for i, pause := range gc.PauseQuantiles {
		v.Go.GCDuration.quantiles[float64(i)/4] = pause.Seconds()
	}
	v.Memory.LastGC = max(float64(gc.LastGC.UnixNano())/1e9, 0) // before the first it is below 0
	readDeclared(&v.Go)
	readDeclared(&v.Memory)
	v.Process.read()
	return v
}

// readDeclared sets the fields of a struct that have the tag read.
func readDeclared(values any) {
	var samples []metrics.Sample
	fields := taggedFields(values)
	for _, f := range fields {
		for _, name := range f.names {
			samples = append(samples, metrics.Sample{Name: name})
		}
	}
	metrics.Read(samples)
	for _, f := range fields {
		sum := uint64(0)
		for range f.names {
			if samples[0].Value.Kind() == metrics.KindUint64 {
				sum += samples[0].Value.Uint64()
			}
			samples = samples[1:]
		}
		f.value.SetUint(sum)
	}
}

// read reads what /proc and getrusage(2) say of the process. Where /proc is not
// mounted there is less to tell.
func (p *processValues) read() {
	var used unix.Rusage
	if unix.Getrusage(unix.RUSAGE_SELF, &used) == nil {
		p.CPU = float64(used.Utime.Nano()+used.Stime.Nano()) / 1e9
	}
	var limit unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &limit) == nil {
		p.MaxFDs = limit.Cur
	}
	if unix.Getrlimit(unix.RLIMIT_AS, &limit) == nil {
		p.MaxVirt = limit.Cur
	}
	if names, err := os.ReadDir("/proc/self/fd"); err == nil {
		p.OpenFDs = uint64(max(len(names)-1, 0)) // one was that of reading
	}
	if text, err := os.ReadFile("/proc/self/statm"); err == nil {
		_, _ = fmt.Sscan(string(text), &p.Virtual, &p.Resident)
		p.Virtual, p.Resident = p.Virtual*uint64(os.Getpagesize()), p.Resident*uint64(os.Getpagesize())
	}
	p.Start = startTime()
	if text, err := os.ReadFile("/proc/self/net/netstat"); err == nil {
		octets := ipOctets(string(text))
		p.Received, p.Sent = octets["InOctets"], octets["OutOctets"]
	}
}

// startTime is that of the process: of /proc/self/stat in ticks of 10 ms (USER_HZ)
// since the boot, which /proc/stat has as Unix time.
func startTime() float64 {
	const startField, ticks = 22, 100 // man 5 proc
	text, err := os.ReadFile("/proc/self/stat")
	if err != nil {
		return 0
	}
	// The second field, the name in brackets, may contain anything.
	fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
	if len(fields) < startField-2 {
		return 0
	}
	start, err := strconv.ParseFloat(fields[startField-3], 64)
	if err != nil {
		return 0
	}
	stat, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(stat)) {
		if boot, ok := strings.CutPrefix(line, "btime "); ok {
			seconds, _ := strconv.ParseFloat(strings.TrimSpace(boot), 64) // 0 if it cannot be read
			return seconds + start/ticks
		}
	}
	return 0
}

// ipOctets reads the counters of the two lines "IpExt:" of /proc/net/netstat: names
// and values.
func ipOctets(netstat string) map[string]uint64 {
	values := make(map[string]uint64)
	var names []string
	for line := range strings.Lines(netstat) {
		rest, ok := strings.CutPrefix(line, "IpExt:")
		if !ok {
			continue
		}
		fields := strings.Fields(rest)
		if names == nil {
			names = fields
			continue
		}
		for i := range min(len(names), len(fields)) {
			values[names[i]], _ = strconv.ParseUint(fields[i], 10, 64) // 0 if it is not a number
		}
	}
	return values
}

// taggedField is a field with the tag read.
type taggedField struct {
	value reflect.Value
	names []string // of metrics of package runtime/metrics, to be added up
}

func taggedFields(values any) (all []taggedField) {
	v := reflect.ValueOf(values).Elem()
	for i := range v.NumField() {
		if names := strings.Fields(v.Type().Field(i).Tag.Get("read")); len(names) > 0 {
			all = append(all, taggedField{v.Field(i), names})
		}
	}
	return all
}
