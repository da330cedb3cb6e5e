package auth

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"time"
)

// fetchTime limits one reading of a JWK set from its URL, redirects included.
const fetchTime = 10 * time.Second

// maxRedirects is how many redirects of one reading are followed.
const maxRedirects = 3

// CheckJWKSURL returns an error unless text is a URL that keys may be fetched from.
// Without TLS anybody on the way could give other keys, and with them any user.
func CheckJWKSURL(text string) error {
	_, err := parseJWKSURL(text)
	return err
}

func parseJWKSURL(text string) (*url.URL, error) {
	u, err := url.Parse(text)
	if err != nil || u.Host == "" {
		return nil, errors.New("not a URL; allowed are https://host/path and the name of a file") // err would repeat a password in text
	}
	switch u.Scheme {
	case "https":
	case "http":
		if host := u.Hostname(); host != "localhost" && !net.ParseIP(host).IsLoopback() {
			return nil, errors.New("http:// lets anybody on the way replace the keys; allowed are https:// and, for this machine only, http://127.0.0.1 and http://localhost")
		}
	default:
		return nil, fmt.Errorf("the scheme %.16q; allowed are https:// and the name of a file", u.Scheme)
	}
	return u, nil
}

// fetcher fetches a JWK set over HTTP.
type fetcher struct {
	url    *url.URL
	client *http.Client
}

func newFetcher(text string, transport http.RoundTripper) (*fetcher, error) {
	u, err := parseJWKSURL(text)
	if err != nil {
		return nil, err
	}
	if transport == nil {
		transport = &http.Transport{
			Proxy:                  http.ProxyFromEnvironment,
			ForceAttemptHTTP2:      true,
			MaxIdleConns:           1,
			IdleConnTimeout:        30 * time.Second,
			TLSHandshakeTimeout:    fetchTime,
			MaxResponseHeaderBytes: 64 << 10,
		}
	}
	f := &fetcher{url: u, client: &http.Client{Transport: transport, Timeout: fetchTime}}
	f.client.CheckRedirect = func(r *http.Request, via []*http.Request) error {
		switch {
		case r.URL.Host != u.Host || r.URL.Scheme != u.Scheme:
			return errors.New("it redirects to another host, which is not followed: set the URL that it redirects to")
		case len(via) > maxRedirects:
			return errors.New("it redirects too often")
		}
		return nil
	}
	return f, nil
}

// fetch returns the JWK set as it was sent, at most maxKeyFile bytes. Its errors do
// not repeat the URL.
func (f *fetcher) fetch(ctx context.Context) ([]byte, error) {
	r := (&http.Request{Method: http.MethodGet, URL: f.url, Host: f.url.Host, Header: http.Header{
		"Accept":     {"application/jwk-set+json, application/json"},
		"User-Agent": {"belfry"},
	}}).WithContext(ctx)
	answer, err := f.client.Do(r)
	if err != nil {
		return nil, withoutURL(err)
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("the answer has status %d; 200 is expected", answer.StatusCode)
	}
	return readAll(answer.Body)
}

// withoutURL returns err without the URL of the request, whose query may have a
// secret.
func withoutURL(err error) error {
	var u *url.Error
	if !errors.As(err, &u) {
		return err
	}
	if u.Timeout() {
		return fmt.Errorf("no answer within %v", fetchTime)
	}
	return u.Err
}
