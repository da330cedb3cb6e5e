package push

import (
	"fmt"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"belfry/message"
)

// The document has the limits of the code.
func TestDocumentHasTheLimits(t *testing.T) {
	doc := loadDocument(t)
	names := doc.Components.Schemas["Names"].Value
	if *names.MaxItems != message.MaxTargetNames {
		t.Errorf("names: %d", *names.MaxItems)
	}
	topic := doc.Paths.Find("/v1/topics/{topic}").Post.Parameters.GetByInAndName("path", "topic").Schema.Value
	if *topic.MaxLength != message.MaxTopicLen {
		t.Errorf("topic: %d", *topic.MaxLength)
	}
	page, err := os.ReadFile("../docs/api.md")
	if err != nil {
		t.Fatal(err)
	}
	var l Limits
	if err := l.fill(); err != nil {
		t.Fatal(err)
	}
	for name, value := range map[string]any{
		"api.max_payload": kib(l.MaxPayload), "the longest line": kib(l.MaxBatchLine), "api.max_batch_lines": l.MaxBatchLines,
		"api.max_requests": l.MaxRequests, "api.max_bodies": l.MaxBodies, "api.body_bytes": fmt.Sprint(l.BodyBytes>>20, " MiB"), "api.max_connections": l.MaxConnections, "api.max_head": kib(l.MaxHeaderBytes),
		"api.head_timeout": l.ReadHeaderTimeout, "api.read_timeout": l.ReadTimeout, "api.write_timeout": l.WriteTimeout,
		"api.idle_timeout": l.IdleTimeout, "api.batch_idle_timeout": l.BatchIdleTimeout,
	} {
		want := regexp.MustCompile(fmt.Sprintf(`(?m)^\|.*\|[^|]*%s[^|]*\| %s \|`, regexp.QuoteMeta(name), strings.Replace(fmt.Sprint(value), "m0s", "m", 1)))
		if !want.Match(page) {
			t.Errorf("docs/api.md does not have %s as %v", name, value)
		}
	}
}

func kib(n int) string { return strconv.Itoa(n>>10) + " KiB" }
