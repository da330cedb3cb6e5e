package main

import (
	"strings"

	"github.com/rogpeppe/go-internal/testscript"
)

// cmdToken makes a token and sets $VARIABLE, and $VARIABLE_end to the last characters
// of its signature, which are in nothing else.
func cmdToken(ts *testscript.TestScript, neg bool, args []string) {
	need(ts, args, 1, "token VARIABLE [flag…]")
	if neg {
		ts.Fatalf("unsupported: ! token")
	}
	ts.Check(ts.Exec("belfry", append([]string{"token", "new"}, args[1:]...)...))
	token := strings.TrimSpace(ts.ReadFile("stdout"))
	ts.Setenv(args[0], token)
	ts.Setenv(args[0]+"_end", token[len(token)-20:])
}
