//go:build !linux

package main

// The build ends with this import, before it gets to symbols that are missing.
import _ "belfry/host/belfry_needs_linux"
