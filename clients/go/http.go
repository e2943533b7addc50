package novakms

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
)

const (
	maxURL      = 2048
	maxHeaders  = 64 << 10 // bytes of an answer's status line and headers
	maxError    = 64 << 10 // bytes that are read of the body of an error
	keptNumber  = 4        // idle connections
	keptFor     = 20 * time.Second
	firstRoom   = 64 << 10 // bytes that are made for an answer before any of it has come
	oddInURL    = "\"'<>\\^`{|}#@?"
	contentJSON = "application/json"
)

// server is a server at a base URL. Connections are kept; there are no redirections, proxies, cookies and no compression, and HTTP/1.1
// alone. A request is sent once, but for a GET on a kept connection that broke. Any number of goroutines may use it at once.
type server struct {
	// name is how errors call it.
	name      string
	base      *url.URL
	timeout   time.Duration
	transport *http.Transport
}

type request struct {
	method string
	// path is what follows the base URL: escaped, with its query.
	path     string
	headers  map[string]string
	body     []byte
	maxBytes int64 // of the answer's body
}

type response struct {
	status  int
	headers http.Header
	body    []byte
}

// parseURL checks a base URL: http or https, without user name, query and fragment.
func parseURL(text string) (*url.URL, *Error) {
	const wrong = "not the URL of a server: http or https, without user name, query and fragment, of printable ASCII, at most %d bytes"
	isOdd := func(r rune) bool { return r < '!' || r > '~' || strings.ContainsRune(oddInURL, r) }
	if len(text) > maxURL || strings.IndexFunc(text, isOdd) >= 0 {
		return nil, invalid(wrong, maxURL)
	}
	base, err := url.Parse(text) // its error shows the URL, which may have a key
	if err != nil || base.Scheme != "http" && base.Scheme != "https" || base.Hostname() == "" || base.Opaque != "" {
		return nil, invalid(wrong, maxURL)
	}
	if port := base.Port(); port != "" {
		if number, err := strconv.ParseUint(port, 10, 16); err != nil || number == 0 {
			return nil, invalid("not the URL of a server: its port is not from 1 to 65535")
		}
	}
	return base, nil
}

// newServer makes a server. publicOnly refuses private, loopback and otherwise special addresses.
func newServer(base *url.URL, name string, timeout time.Duration, config *tls.Config, publicOnly bool) *server {
	dialer := &net.Dialer{Timeout: timeout}
	if publicOnly {
		dialer.ControlContext = func(_ context.Context, _, address string, _ syscall.RawConn) error { return checkPublic(address) }
	}
	if config != nil {
		config = config.Clone()
	}
	return &server{name: name, base: base, timeout: timeout, transport: &http.Transport{
		Proxy:                  nil, // the environment is not asked
		DialContext:            dialer.DialContext,
		TLSClientConfig:        config,
		TLSHandshakeTimeout:    timeout,
		DisableCompression:     true,
		MaxIdleConns:           keptNumber,
		MaxIdleConnsPerHost:    keptNumber,
		IdleConnTimeout:        keptFor,
		MaxResponseHeaderBytes: maxHeaders,
		TLSNextProto:           map[string]func(string, *tls.Conn) http.RoundTripper{}, // no HTTP/2
	}}
}

func (s *server) close() { s.transport.CloseIdleConnections() }

// call sends a request, and returns the answer whatever its status. The error says in Sent whether the server may have got the request.
func (s *server) call(ctx context.Context, r request) (*response, *Error) {
	limited, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	var sent atomic.Bool
	traced := httptrace.WithClientTrace(limited, &httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) { sent.Store(true) }})
	answer, err := s.exchange(traced, r)
	switch {
	case err == nil:
		return answer, nil
	case ctx.Err() != nil:
		return nil, canceled(ctx, sent.Load())
	case limited.Err() != nil:
		return nil, &Error{Kind: ErrTimeout, Sent: sent.Load(), text: s.name + ": no complete answer in time"}
	}
	return nil, s.failed(err, sent.Load(), r.maxBytes)
}

var (
	errTooLarge = errors.New("too large")
	errSwitched = errors.New("another protocol")
)

func (s *server) exchange(ctx context.Context, r request) (*response, error) {
	path, query, _ := strings.Cut(r.path, "?")
	target := *s.base
	target.RawPath = s.base.EscapedPath() + path
	target.Path, _ = url.PathUnescape(target.RawPath)
	target.RawQuery = query
	asked := (&http.Request{
		Method: r.method, URL: &target, Host: target.Host, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: http.Header{"User-Agent": nil}, // none
	}).WithContext(ctx)
	for name, value := range r.headers {
		asked.Header.Set(name, value)
	}
	if r.body != nil {
		asked.ContentLength = int64(len(r.body))
		// The transport takes a second one only where nothing of the first was written.
		asked.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(r.body)), nil }
		asked.Body, _ = asked.GetBody()
	}
	answer, err := s.transport.RoundTrip(asked)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	if answer.StatusCode < http.StatusOK || answer.ProtoMajor != 1 {
		return nil, errSwitched // for 101, the context's end would not end the reading of what follows
	}
	body, err := readBody(answer, r.maxBytes)
	if err != nil {
		return nil, err
	}
	return &response{answer.StatusCode, answer.Header, body}, nil
}

// readBody reads an answer's body; of an error, which nobody has signed, no more than its beginning.
func readBody(answer *http.Response, most int64) ([]byte, error) {
	if answer.StatusCode != http.StatusOK {
		return read(io.LimitReader(answer.Body, maxError), -1, maxError)
	}
	return read(answer.Body, answer.ContentLength, most)
}

// read reads a body of most bytes at most. declared is its length, or -1.
func read(body io.Reader, declared, most int64) ([]byte, error) {
	if declared > most {
		return nil, errTooLarge
	}
	// Room grows with what comes, not with what is announced.
	room := bytes.NewBuffer(make([]byte, 0, max(0, min(declared, firstRoom))+bytes.MinRead))
	n, err := room.ReadFrom(io.LimitReader(body, most+1))
	if err == nil && n > most {
		return nil, errTooLarge
	}
	return room.Bytes(), err
}

// failed says what an exchange failed of. The library's texts, which may show the URL and what the server sent, are not shown.
func (s *server) failed(err error, sent bool, most int64) *Error {
	var (
		dns         *net.DNSError
		errno       syscall.Errno
		certificate *tls.CertificateVerificationError
		operation   *net.OpError
	)
	switch {
	case errors.Is(err, errTooLarge):
		return violation(sent, "%s: an answer of more than %d bytes", s.name, most)
	case errors.Is(err, errNotPublic):
		return unavailable(sent, "%s: its address is not public", s.name)
	case errors.As(err, &certificate):
		return unavailable(sent, "%s: its certificate is not trusted", s.name)
	case errors.As(err, &dns):
		return unavailable(sent, "%s: the name has no address", s.name)
	case errors.As(err, &errno):
		return unavailable(sent, "%s: %s", s.name, errno.Error())
	case !sent:
		return unavailable(sent, "%s: no connection", s.name)
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.As(err, &operation), isClosedIdle(err):
		return unavailable(sent, "%s: the connection broke before the answer was complete", s.name)
	}
	return violation(sent, "%s: the answer is not HTTP/1.1, or has more than %d bytes of headers", s.name, maxHeaders)
}

// isClosedIdle knows an error that net/http does not export: the server closed a kept connection when the request was on its way.
func isClosedIdle(err error) bool {
	return strings.HasSuffix(err.Error(), "server closed idle connection")
}

// header returns the only header of a name, and "" where there is none, or more than one.
func (r *response) header(name string) string {
	if values := r.headers[textproto.CanonicalMIMEHeaderKey(name)]; len(values) == 1 {
		return values[0]
	}
	return ""
}

// retryAfter reads Retry-After, which counts from the answer's own Date (RFC 9110 section 10.2.3); 0 where there is none.
func (r *response) retryAfter(now time.Time) time.Duration {
	value := r.header("Retry-After")
	if value != "" && strings.Trim(value, "0123456789") == "" {
		seconds, err := strconv.ParseInt(value, 10, 64)
		if err != nil {
			return maxWait
		}
		return time.Duration(min(seconds, int64(maxWait/time.Second))) * time.Second
	}
	until, err := http.ParseTime(value)
	if err != nil {
		return 0
	}
	if date, err := http.ParseTime(r.header("Date")); err == nil {
		now = date
	}
	return max(0, min(until.Sub(now).Round(time.Second), maxWait))
}
