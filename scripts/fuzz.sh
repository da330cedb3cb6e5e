#!/usr/bin/env bash
# Runs every fuzz test of the module for the given time, one after the other:
# go test takes one fuzz target and one package at a time.
set -euo pipefail

time=${1:-60s}
cd "$(dirname "$0")/.."

found=0
while IFS=: read -r file line; do
	name=${line#func }
	name=${name%%(*}
	echo "== ${file%/*} $name"
	go test -run '^$' -fuzz "^${name}\$" -fuzztime "$time" "./${file%/*}"
	found=$((found + 1))
done < <(grep -rHoE --include='*_test.go' '^func Fuzz[A-Za-z0-9_]*\(' . | sed 's|^\./||' | sort)

echo "fuzz: $found targets, $time each: ok"
