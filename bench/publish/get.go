package publish

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"time"
)

// maxBody is the longest answer that Get reads, in bytes.
const maxBody = 8 << 20

// Get returns the body of a 200, which must arrive within timeout. With an
// error about another status it also returns the body.
func Get(ctx context.Context, timeout time.Duration, url string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(io.LimitReader(res.Body, maxBody+1))
	switch {
	case err != nil:
	case len(body) > maxBody:
		err = fmt.Errorf("GET %s: answer longer than %d bytes", url, maxBody)
	case res.StatusCode != http.StatusOK:
		err = fmt.Errorf("GET %s: %s: %.200s", url, res.Status, body)
	}
	return body, err
}
