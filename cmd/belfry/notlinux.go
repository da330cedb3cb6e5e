//go:build !linux

package main

// The build fails at this import, before the compiler reports missing symbols.
import _ "belfry/host/belfry_needs_linux"
