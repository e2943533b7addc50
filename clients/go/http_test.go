package novakms

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"nova-kms/clients/go/internal/nodetest"
)

// serverOf starts a server that answers as a handler does, and returns what calls it.
func serverOf(t testing.TB, handler http.HandlerFunc) *server {
	t.Helper()
	started := httptest.NewServer(handler)
	t.Cleanup(func() {
		started.CloseClientConnections()
		started.Close()
	})
	return callerOf(t, started.URL, nil, false)
}

func callerOf(t testing.TB, address string, config *tls.Config, publicOnly bool) *server {
	t.Helper()
	base, wrong := parseURL(address)
	if wrong != nil {
		t.Fatal(wrong)
	}
	s := newServer(base, "server", waitFor, config, publicOnly)
	t.Cleanup(s.close)
	return s
}

var get = request{method: http.MethodGet, path: "/", maxBytes: 1000}

func TestURLs(t *testing.T) {
	long := "http://h/" + strings.Repeat("a", maxURL-9)
	for _, text := range []string{"http://a", "https://a:1/b/c/", "http://[::1]:8000", "http://1.2.3.4:65535", "http://a/%20", long} {
		if _, wrong := parseURL(text); wrong != nil {
			t.Errorf("%.40s: %v", text, wrong)
		}
	}
	for _, text := range []string{
		"", "a", "//a", "http:", "http://", "http:///a", "http:a", "ftp://a", "http://a:0", "http://a:65536", "http://a:x", "http://u@a", "http://u:p@a",
		"http://a?b", "http://a#b", "http://a b", "http://ä", "http://a/\n", "http://a/%zz", "javascript:a", long + "a",
	} {
		wrong := func() *Error { _, wrong := parseURL(text); return wrong }()
		if e := expect(t, wrong, ErrInvalid); text != "" && len(text) > 5 && strings.Contains(e.Error(), text) {
			t.Errorf("%q: %v", text, e)
		}
	}
}

func TestABaseURLMayHaveAPath(t *testing.T) {
	for _, base := range []string{"/a%2Fb", "/a%2Fb/", "/a%2Fb//"} {
		var asked string
		started := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { asked = r.RequestURI }))
		defer started.Close()
		n, wrong := newNode(Node{URL: started.URL + base}, &settings{timeout: waitFor})
		if wrong != nil {
			t.Fatal(wrong)
		}
		if _, failure := n.server.call(ctx, request{method: "GET", path: "/kms/data?key=a%20%2F%3F%2B", maxBytes: 10}); failure != nil {
			t.Fatal(failure)
		}
		if asked != "/a%2Fb/kms/data?key=a%20%2F%3F%2B" {
			t.Error(asked)
		}
		n.server.close()
	}
}

func TestAnswersHaveALimit(t *testing.T) {
	for _, chunked := range []bool{false, true} {
		for size, fits := range map[int]bool{0: true, 999: true, 1000: true, 1001: false, 1 << 20: false} {
			s := serverOf(t, func(w http.ResponseWriter, _ *http.Request) {
				if chunked {
					w.(http.Flusher).Flush()
				}
				w.Write(make([]byte, size))
			})
			answer, failure := s.call(ctx, get)
			if fits {
				if failure != nil || len(answer.body) != size {
					t.Errorf("%d: %v", size, failure)
				}
			} else if e := expect(t, failure, ErrProtocol); !e.Sent || !strings.Contains(e.Error(), "more than 1000 bytes") {
				t.Error(e)
			}
		}
	}
}

func TestOfAnErrorTheBeginningIsRead(t *testing.T) {
	for size, wanted := range map[int]int{maxError: maxError, maxError + 1: maxError, 10 << 20: maxError, 5: 5} {
		s := serverOf(t, func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusNotFound)
			w.Write(make([]byte, size))
		})
		for range 2 { // what was not read is no part of the next answer
			answer, failure := s.call(ctx, get)
			if failure != nil || answer.status != http.StatusNotFound || len(answer.body) != wanted {
				t.Fatalf("%d bytes: %v", size, failure)
			}
		}
	}
	s := serverOf(t, nodetest.Raw("HTTP/1.1 500 No\r\nContent-Length: 5\r\n\r\nabcd", false))
	_, failure := s.call(ctx, get)
	expect(t, failure, ErrUnavailable)
}

func TestHeadersHaveALimit(t *testing.T) {
	for size, fits := range map[int]bool{60 << 10: true, 70 << 10: false} {
		s := serverOf(t, nodetest.Say(200, "", "X-Long: "+strings.Repeat("a", size)))
		_, failure := s.call(ctx, get)
		if fits && failure != nil {
			t.Errorf("%d: %v", size, failure)
		}
		if !fits {
			expect(t, failure, ErrProtocol)
		}
	}
}

func TestWhatIsNoAnswer(t *testing.T) {
	const odd = "odd-bytes"
	for answer, kind := range map[string]Kind{
		"": ErrUnavailable, "HTTP/1.1 200 OK\r\n": ErrUnavailable, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabcd": ErrUnavailable,
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabc": ErrUnavailable,
		"\r\n\r\n": ErrProtocol, odd + "\r\n\r\n": ErrProtocol, "HTTP/9.9 200 OK\r\n\r\n": ErrProtocol, "HTTP/1.1 99999 OK\r\n\r\n": ErrProtocol,
		"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n": ErrProtocol, "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n": ErrProtocol,
		"HTTP/1.1 200 OK\r\n" + odd + "\r\n\r\n": ErrProtocol, "HTTP/1.1 200 OK\r\nTransfer-Encoding: " + odd + "\r\n\r\n": ErrProtocol,
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n": ErrProtocol,
		strings.Repeat("HTTP/1.1 103 Early Hints\r\n\r\n", 10000):     ErrProtocol,
	} {
		s := serverOf(t, nodetest.Raw(answer, false))
		_, failure := s.call(ctx, get)
		if e := expect(t, failure, kind); !e.Sent || strings.Contains(e.Error(), odd) {
			t.Errorf("%q: %v", answer, e)
		}
	}
	// What switches protocols could not be read in time.
	s := serverOf(t, nodetest.Raw("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n", true))
	_, failure := s.call(ctx, get)
	expect(t, failure, ErrProtocol)
}

func TestABodyIsSentOnce(t *testing.T) {
	var came atomic.Int32
	s := serverOf(t, func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		if r.Method == "POST" && came.Add(1) > 1 {
			nodetest.Raw("", false)(w, r)
		}
	})
	for i := range 2 {
		for _, r := range []request{get, {method: "POST", path: "/", body: []byte("x"), maxBytes: 10}} {
			_, failure := s.call(ctx, r)
			if i == 1 && r.method == "POST" {
				expect(t, failure, ErrUnavailable)
			} else if failure != nil {
				t.Error(failure)
			}
		}
	}
	if count := came.Load(); count != 2 {
		t.Errorf("%d requests with a body, not 2", count)
	}
}

func TestRedirectionsCookiesProxiesAndCompressionAreNotUsed(t *testing.T) {
	t.Setenv("HTTP_PROXY", "http://127.0.0.1:1")
	t.Setenv("http_proxy", "http://127.0.0.1:1")
	var mutex sync.Mutex
	var asked []string
	s := serverOf(t, func(w http.ResponseWriter, r *http.Request) {
		mutex.Lock()
		asked = append(asked, r.RequestURI+" "+fmt.Sprint(r.Header))
		mutex.Unlock()
		w.Header().Set("Set-Cookie", "a=b")
		http.Redirect(w, r, "/elsewhere", http.StatusTemporaryRedirect)
	})
	for range 2 {
		if answer, failure := s.call(ctx, get); failure != nil || answer.status != http.StatusTemporaryRedirect {
			t.Error(answer, failure)
		}
	}
	if len(asked) != 2 || asked[0] != "/ map[]" || asked[1] != asked[0] {
		t.Error(asked)
	}
}

func TestNothingIsSentWhereNobodyListens(t *testing.T) {
	started := httptest.NewServer(nodetest.Say(200, ""))
	defer started.Close()
	// The caller's port of a connection, at which nobody listens as long as that is open.
	connection, err := net.Dial("tcp", started.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer connection.Close()
	_, failure := callerOf(t, "http://"+connection.LocalAddr().String(), nil, false).call(ctx, get)
	if e := expect(t, failure, ErrUnavailable); e.Sent {
		t.Error(e)
	}
}

func TestPublicOnlyConnectsToNothingElse(t *testing.T) {
	called := false
	started := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { called = true }))
	defer started.Close()
	_, failure := callerOf(t, started.URL, nil, true).call(ctx, get)
	if e := expect(t, failure, ErrUnavailable); e.Sent || called || !strings.Contains(e.Error(), "not public") {
		t.Error(e)
	}
}

func TestPublicAddresses(t *testing.T) {
	for _, text := range []string{"1.1.1.1", "8.8.8.8", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808", "2002:808:808::1", "172.32.0.1", "100.128.0.1"} {
		if !isPublic(netip.MustParseAddr(text)) {
			t.Errorf("%s is public", text)
		}
	}
	for _, text := range []string{
		"0.0.0.0", "0.1.2.3", "10.0.0.1", "100.64.0.1", "127.0.0.1", "169.254.1.1", "172.16.0.1", "172.31.255.255", "192.0.0.1", "192.0.2.1", "192.168.1.1",
		"198.18.0.1", "198.51.100.1", "203.0.113.1", "224.0.0.1", "240.0.0.1", "255.255.255.255", "::", "::1", "::7f00:1", "::ffff:127.0.0.1",
		"64:ff9b::7f00:1", "64:ff9b:1::1", "100::1", "2001::1", "2001:db8::1", "2002:7f00:1::1", "2002:a00:1::", "3fff::1", "5f00::1", "fc00::1", "fe80::1",
		"fe80::1%eth0", "fec0::1", "ff02::1",
	} {
		if isPublic(netip.MustParseAddr(text)) {
			t.Errorf("%s is not public", text)
		}
	}
	for _, text := range []string{"", "1.1.1.1", "a:80"} {
		if checkPublic(text) == nil {
			t.Error(text)
		}
	}
	if err := checkPublic("1.1.1.1:80"); err != nil {
		t.Error(err)
	}
}

func TestCertificatesAreChecked(t *testing.T) {
	quiet := httptest.NewUnstartedServer(nodetest.Say(200, "hello"))
	quiet.Config.ErrorLog = log.New(io.Discard, "", 0) // what it says of a handshake that fails
	quiet.EnableHTTP2 = true
	quiet.StartTLS()
	defer quiet.Close()
	_, failure := callerOf(t, quiet.URL, nil, false).call(ctx, get)
	if e := expect(t, failure, ErrUnavailable); e.Sent || !strings.Contains(e.Error(), "certificate is not trusted") {
		t.Error(e)
	}
	roots := x509.NewCertPool()
	roots.AddCert(quiet.Certificate())
	config := &tls.Config{RootCAs: roots}
	if answer, failure := callerOf(t, quiet.URL, config, false).call(ctx, get); failure != nil || string(answer.body) != "hello" {
		t.Error(failure)
	}
	other := &tls.Config{RootCAs: roots, ServerName: "elsewhere.example"}
	_, failure = callerOf(t, quiet.URL, other, false).call(ctx, get)
	expect(t, failure, ErrUnavailable)
}

func TestRetryAfter(t *testing.T) {
	now := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	const date, later = "Tue, 01 Jan 2030 00:00:00 GMT", "Tue, 01 Jan 2030 00:00:07 GMT"
	for _, c := range []struct {
		value, date string
		wanted      time.Duration
	}{
		{"", "", 0}, {"0", "", 0}, {"7", "", 7 * time.Second}, {"007", "", 7 * time.Second}, {"999999999", "", maxWait}, {"1000000000", "", maxWait},
		{"99999999999999999999999", "", maxWait}, {"-1", "", 0}, {"+1", "", 0}, {"1.5", "", 0}, {"1 ", "", 0}, {"x", "", 0}, {"٣", "", 0},
		{later, "", 7 * time.Second}, {later, date, 7 * time.Second}, {later, "Tue, 01 Jan 2030 00:00:05 GMT", 2 * time.Second}, {later, "x", 7 * time.Second},
		{date, later, 0}, {"Fri, 31 Dec 9999 23:59:59 GMT", "", maxWait},
	} {
		r := response{headers: http.Header{}}
		if c.value != "" {
			r.headers.Set("Retry-After", c.value)
		}
		if c.date != "" {
			r.headers.Set("Date", c.date)
		}
		if wait := r.retryAfter(now); wait != c.wanted {
			t.Errorf("%q from %q: %v, not %v", c.value, c.date, wait, c.wanted)
		}
	}
	twice := response{headers: http.Header{"Retry-After": {"1", "2"}}}
	if wait := twice.retryAfter(now); wait != 0 {
		t.Error(wait)
	}
}

func TestRoomGrowsWithWhatComes(t *testing.T) {
	const declared = 1 << 30
	grown, err := read(bytes.NewReader(make([]byte, 10)), declared, declared)
	if err != nil || len(grown) != 10 || cap(grown) > 2*firstRoom {
		t.Errorf("%d of %d bytes: %v", len(grown), cap(grown), err)
	}
}
