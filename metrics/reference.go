package metrics

import (
	"bufio"
	"fmt"
	"io"
	"strings"
)

// Reference writes the table of every metric as Markdown: the generated part
// of docs/operations.md.
func Reference(w io.Writer) error {
	out := bufio.NewWriter(w)
	group := ""
	for _, m := range Metrics() {
		if m.Group != group {
			if group != "" {
				fmt.Fprintln(out)
			}
			group = m.Group
			fmt.Fprintf(out, "### %s\n\n| metric | type | what it tells |\n|---|---|---|\n", group)
		}
		name := m.Name
		if m.Labels != nil {
			name += "{" + strings.Join(m.Labels, ",") + "}"
		}
		fmt.Fprintf(out, "| `%s` | %s | %s |\n", name, m.Type, m.Help)
	}
	return out.Flush()
}
