package config

import (
	"bufio"
	"fmt"
	"io"
	"strings"
)

// Reference writes the table of every setting as Markdown: the generated part
// of docs/configuration.md.
func Reference(w io.Writer) error {
	c := Default()
	out := bufio.NewWriter(w)
	var lists []Setting
	walk(&c, func(s Section) {
		lists = referenceItems(out, lists)
		if s.Path == "" {
			fmt.Fprintf(out, "### Top level\n\n")
		} else {
			fmt.Fprintf(out, "\n### %s\n\n%s\n\n", s.Path, s.Doc)
		}
		fmt.Fprintf(out, "| setting | default | allowed | what it does |\n|---|---|---|---|\n")
	}, func(s Setting) {
		if s.Mappings() {
			lists = append(lists, s)
		}
		name := "`" + s.Path + "`<br>`" + s.Env + "`"
		if s.Flag != "" {
			name += "<br>`--" + s.Flag + "`"
		}
		if EffectOf(s.Path) == Live {
			name += "<br>live"
		}
		fmt.Fprintf(out, "| %s | %s | %s | %s |\n", name, s.defaultCell(), s.allowedCell(), cell(s.Doc))
	})
	referenceItems(out, lists)
	return out.Flush()
}

// referenceItems writes what the mappings in each of the lists may have.
func referenceItems(out *bufio.Writer, lists []Setting) []Setting {
	for _, list := range lists {
		fmt.Fprintf(out, "\nA mapping in `%s` has:\n\n| key | default | allowed | what it does |\n|---|---|---|---|\n", list.Path)
		for _, s := range list.itemSettings() {
			fmt.Fprintf(out, "| `%s` | %s | %s | %s |\n", s.Path, s.defaultCell(), s.allowedCell(), cell(s.Doc))
		}
	}
	return nil
}

func (s *Setting) defaultCell() string {
	value := strings.Join(s.Items(), ",")
	text := "`" + value + "`"
	if value == "" || value == "0" {
		text = value
		if s.Zero != "" {
			text = strings.TrimSpace(value + " (" + cell(s.Zero) + ")")
		}
	}
	if s.Dev != "" {
		text += "; with dev `" + s.Dev + "`"
	}
	return text
}

func (s *Setting) allowedCell() string {
	if allowed := s.Allowed(); allowed != "" {
		if s.Enum != nil {
			return cell(allowed)
		}
		return s.Type() + ", " + cell(allowed)
	}
	return s.Type()
}

// cell escapes a text for a table cell.
func cell(text string) string { return strings.ReplaceAll(text, "|", `\|`) }
