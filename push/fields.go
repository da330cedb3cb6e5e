package push

import (
	"fmt"
	"net/http"
	"strings"

	"belfry/message"
)

// single returns the value of a field that may be given once, "" if it is missing.
// once is false if the field is given more than once: then it is not defined which
// of its lines is valid (RFC 9110 §5.3).
func single(h http.Header, name string) (value string, once bool) {
	lines := h[name]
	if len(lines) == 0 {
		return "", true
	}
	return lines[0], len(lines) == 1
}

// checkBody refuses requests whose body cannot be pushed as it is: compressed
// bodies, multipart bodies, text in another charset than UTF-8, and bodies without
// a length. The kind is Binary for application/octet-stream and otherwise Text.
func checkBody(r *http.Request) (message.Kind, *problem) {
	h := r.Header
	if p := checkCoding(r); p != nil {
		return 0, p
	}
	value, once := single(h, "Content-Type")
	if !once {
		return 0, &problem{cause: CauseField, field: "Content-Type", detail: "given twice; allowed is once"}
	}
	if r.ContentLength == 0 && len(h["Content-Length"]) == 0 {
		return 0, &problem{cause: CauseLength, field: "Content-Length",
			detail: "neither Content-Length nor Transfer-Encoding: chunked; an empty message is Content-Length: 0 (curl: -d '')"}
	}
	return checkType(value)
}

// checkCoding refuses a body that is compressed.
func checkCoding(r *http.Request) *problem {
	h := r.Header
	for _, line := range h["Content-Encoding"] {
		for coding := range strings.SplitSeq(line, ",") {
			if coding = strings.Trim(coding, " \t"); coding != "" && !strings.EqualFold(coding, "identity") {
				return &problem{cause: CauseMediaType, field: "Content-Encoding",
					detail: fmt.Sprintf("%q; allowed is a body that is not encoded", strings.Join(h["Content-Encoding"], ", "))}
			}
		}
	}
	return nil
}

// checkType returns the kind of a body with this Content-Type.
func checkType(value string) (message.Kind, *problem) {
	media, parameters, _ := strings.Cut(value, ";")
	media = strings.TrimSpace(media)
	if strings.EqualFold(media, "application/octet-stream") {
		return message.Binary, nil
	}
	if len(media) >= 10 && strings.EqualFold(media[:10], "multipart/") {
		return 0, &problem{cause: CauseMediaType, field: "Content-Type",
			detail: "multipart bodies are not decoded; send the data itself (curl: -d or --data-binary, not -F)"}
	}
	for parameters != "" {
		var one string
		one, parameters, _ = strings.Cut(parameters, ";")
		name, charset, _ := strings.Cut(one, "=")
		if !strings.EqualFold(strings.TrimSpace(name), "charset") {
			continue
		}
		switch charset = strings.Trim(charset, " \t\""); {
		case strings.EqualFold(charset, "utf-8"), strings.EqualFold(charset, "utf8"), strings.EqualFold(charset, "us-ascii"):
		default:
			return 0, &problem{cause: CauseMediaType, field: "Content-Type",
				detail: fmt.Sprintf("charset %q; allowed is text in UTF-8, or any bytes with Content-Type: application/octet-stream", charset)}
		}
	}
	return message.Text, nil
}
