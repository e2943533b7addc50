/*
 * All transfers of a fetcher: libcurl says which sockets and timeouts it waits for, libuv watches
 * them (fetch.h). The owner of a uv handle is found by its offset, never through the handle's
 * `data` pointer, which luv interprets as its own when it closes the loop.
 */
#include "net/fetch_internal.h"

#include "base/mem.h"
#include "base/ensure.h"

TAILQ_HEAD(watcher_list, watcher);

/*
 * Checked and unchecked transfers never share connections: libcurl reuses a connection without
 * checking its address again, so that a peer's URL could use an operator's connection to loopback.
 */
enum { POOL_UNCHECKED, POOL_CHECKED, POOLS };

typedef struct pool {
	uv_timer_t timer;
	CURLM *multi;
	kms_fetcher *fetcher;
	struct watcher_list idle;
	unsigned idle_count;
} pool;

struct kms_fetcher {
	uv_loop_t *loop;
	pool pools[POOLS];
	fetch_links links[KMS_FETCH_DIRECT_KINDS]; /* of transfers without libcurl, by kind */
	unsigned handles;                          /* open uv handles; at 0 the fetcher is freed */
	size_t running;
	size_t max_running;
	bool closed;
	struct fetch_list active;
	struct fetch_list ready; /* finished, `done` not called yet */
};

/*
 * Watches one descriptor. libcurl uses a kept-alive connection again under the same descriptor, and
 * a new watcher costs several system calls, so a stopped watcher is kept for the next use (idle). An
 * idle watcher watches nothing: its descriptor may belong to another socket by now.
 */
typedef struct watcher {
	uv_poll_t poll;
	TAILQ_ENTRY(watcher) link; /* while idle */
	pool *pool;
	curl_socket_t fd;
} watcher;

#define MAX_IDLE 64

/* ---- finished transfers --------------------------------------------------------------------- */

static CURLM *multi_of(const kms_fetch *fetch)
{
	return fetch->fetcher->pools[fetch->check_address ? POOL_CHECKED : POOL_UNCHECKED].multi;
}

static fetch_links *links_of(const kms_fetch *fetch)
{
	return &fetch->fetcher->links[fetch->direct->kind - 1];
}

static void conclude(kms_fetch *fetch, kms_status status)
{
	kms_fetcher *fetcher = fetch->fetcher;
	if (fetch->direct)
		fetch_links_stop(fetch, links_of(fetch));
	else
		curl_multi_remove_handle(multi_of(fetch), fetch->easy);
	uv_timer_stop(&fetch->deadline);
	TAILQ_REMOVE(&fetcher->active, fetch, link);
	TAILQ_INSERT_TAIL(&fetcher->ready, fetch, link);
	fetcher->running--;
	fetch->state = FETCH_READY;
	fetch->status = status;
	if (status != KMS_OK) kms_buf_clear(&fetch->body);
}

void fetch_detach(kms_fetch *fetch)
{
	if (fetch->state == FETCH_RUNNING) conclude(fetch, KMS_ERR_STATE);
	if (fetch->state != FETCH_READY) return;
	TAILQ_REMOVE(&fetch->fetcher->ready, fetch, link);
	fetch->state = FETCH_DONE;
	fetch->fetcher = NULL;
}

static void drop_handle(kms_fetcher *fetcher)
{
	if (--fetcher->handles != 0) return;
	for (int i = 0; i < (int)KMS_FETCH_DIRECT_KINDS; i++)
		fetch_links_free(&fetcher->links[i]);
	kms_heap_free(fetcher);
}

/* Calls `done` of finished transfers. It may start, free or close anything, so hold nothing across it. */
static void deliver(kms_fetcher *fetcher)
{
	kms_fetch *fetch;
	fetcher->handles++; /* keeps the fetcher while `done` runs */
	while ((fetch = TAILQ_FIRST(&fetcher->ready))) {
		fetch_detach(fetch);
		fetch->done(fetch->context);
	}
	drop_handle(fetcher);
}

static void collect(pool *p)
{
	CURLMsg *message;
	int left;
	while ((message = curl_multi_info_read(p->multi, &left))) {
		char *fetch = NULL;
		CURLcode code = message->data.result;
		if (message->msg != CURLMSG_DONE) continue;
		curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &fetch);
		kms_fetch *done = (kms_fetch *)(void *)fetch;
		conclude(done, fetch_transfer_outcome(done, code));
	}
	deliver(p->fetcher);
}

static void on_link_opened(fetch_links *links)
{
	links->fetcher->handles++;
}

static void on_link_closed(fetch_links *links)
{
	drop_handle(links->fetcher);
}

static void deliver_direct(fetch_links *links)
{
	deliver(links->fetcher);
}

static void on_deadline(uv_timer_t *timer)
{
	kms_fetch *fetch = FETCH_OWNER(kms_fetch, deadline, timer);
	kms_fetcher *fetcher = fetch->fetcher;
	fetch->detail[0] = '\0';
	conclude(fetch, KMS_ERR_TIMEOUT);
	deliver(fetcher);
}

/* Sets when a transfer is late: at its end, or before that where it is still connecting. */
static void limit(kms_fetch *fetch, bool connecting)
{
	uint64_t now = uv_now(fetch->fetcher->loop);
	uint64_t left = fetch->ends_ms > now ? fetch->ends_ms - now : 0;
	if (connecting && fetch->connect_timeout_ms < left) left = fetch->connect_timeout_ms;
	uv_timer_start(&fetch->deadline, on_deadline, left, 0);
}

/* ---- libcurl's sockets and timer ------------------------------------------------------------ */

static void drive(pool *p, curl_socket_t fd, int events)
{
	int running;
	curl_multi_socket_action(p->multi, fd, events, &running);
	collect(p);
}

static void on_poll(uv_poll_t *handle, int status, int events)
{
	watcher *w = FETCH_OWNER(watcher, poll, handle);
	int flags = (events & UV_READABLE ? CURL_CSELECT_IN : 0) |
		    (events & UV_WRITABLE ? CURL_CSELECT_OUT : 0) | (status < 0 ? CURL_CSELECT_ERR : 0);
	drive(w->pool, w->fd, flags);
}

static void on_timer(uv_timer_t *timer)
{
	drive(FETCH_OWNER(pool, timer, timer), CURL_SOCKET_TIMEOUT, 0);
}

static void on_watcher_closed(uv_handle_t *handle)
{
	watcher *w = FETCH_OWNER(watcher, poll, handle);
	drop_handle(w->pool->fetcher);
	kms_heap_free(w);
}

static void watcher_close(watcher *w)
{
	uv_close((uv_handle_t *)&w->poll, on_watcher_closed);
}

static void make_idle(watcher *w)
{
	pool *p = w->pool;
	uv_poll_stop(&w->poll);
	if (p->fetcher->closed || p->idle_count == MAX_IDLE) {
		watcher_close(w);
		return;
	}
	TAILQ_INSERT_HEAD(&p->idle, w, link);
	p->idle_count++;
}

static watcher *take_idle(pool *p, curl_socket_t fd)
{
	watcher *w = TAILQ_FIRST(&p->idle);
	while (w && w->fd != fd)
		w = TAILQ_NEXT(w, link);
	if (!w) return NULL;
	TAILQ_REMOVE(&p->idle, w, link);
	p->idle_count--;
	return w;
}

static watcher *watch(pool *p, curl_socket_t fd)
{
	watcher *w = take_idle(p, fd);
	if (w) {
		curl_multi_assign(p->multi, fd, w);
		return w;
	}
	w = kms_heap_alloc(1, sizeof(*w));
	if (!w) return NULL;
	w->pool = p;
	w->fd = fd;
	if (uv_poll_init(p->fetcher->loop, &w->poll, fd) != 0) {
		kms_heap_free(w);
		return NULL;
	}
	p->fetcher->handles++;
	curl_multi_assign(p->multi, fd, w);
	return w;
}

/*
 * CURLMOPT_SOCKETFUNCTION. If a socket cannot be watched, its transfer ends at its deadline: to
 * report the failure to libcurl would end all other transfers too.
 */
static int on_socket(CURL *easy, curl_socket_t fd, int what, void *context, void *socket_context)
{
	pool *p = context;
	watcher *w = socket_context;
	(void)easy;
	if (what == CURL_POLL_REMOVE) {
		if (!w) return 0;
		curl_multi_assign(p->multi, fd, NULL);
		make_idle(w);
		return 0;
	}
	if (!w) w = watch(p, fd);
	if (!w) return 0;
	uv_poll_start(&w->poll,
		      (what & CURL_POLL_IN ? UV_READABLE : 0) | (what & CURL_POLL_OUT ? UV_WRITABLE : 0),
		      on_poll);
	return 0;
}

static int on_timeout_change(CURLM *multi, long timeout_ms, void *context)
{
	pool *p = context;
	(void)multi;
	if (p->fetcher->closed || timeout_ms < 0)
		uv_timer_stop(&p->timer);
	else
		uv_timer_start(&p->timer, on_timer, (uint64_t)timeout_ms, 0);
	return 0;
}

/* ---- fetcher -------------------------------------------------------------------------------------- */

static kms_status pool_init(pool *p, const kms_fetcher_limits *limits)
{
	p->multi = curl_multi_init();
	ENSURE(p->multi, KMS_ERR_MEMORY);
	CURLMcode code = curl_multi_setopt(p->multi, CURLMOPT_SOCKETFUNCTION, on_socket);
	if (!code) code = curl_multi_setopt(p->multi, CURLMOPT_SOCKETDATA, p);
	if (!code) code = curl_multi_setopt(p->multi, CURLMOPT_TIMERFUNCTION, on_timeout_change);
	if (!code) code = curl_multi_setopt(p->multi, CURLMOPT_TIMERDATA, p);
	if (!code) code = curl_multi_setopt(p->multi, CURLMOPT_PIPELINING, (long)CURLPIPE_NOTHING);
	if (!code) code = curl_multi_setopt(p->multi, CURLMOPT_MAXCONNECTS, (long)limits->max_connections);
	if (!code)
		code = curl_multi_setopt(p->multi, CURLMOPT_MAX_TOTAL_CONNECTIONS,
					 (long)limits->max_connections);
	return code ? KMS_ERR_SYSTEM : KMS_OK;
}

static void on_timer_closed(uv_handle_t *handle)
{
	drop_handle(FETCH_OWNER(pool, timer, handle)->fetcher);
}

static const fetch_links_owner links_owner = { on_link_opened, on_link_closed, limit, conclude,
					       deliver_direct };

kms_status kms_fetcher_new(kms_fetcher **out, uv_loop_t *loop, const kms_fetcher_limits *limits)
{
	ENSURE_REF(out);
	*out = NULL;
	ENSURE(loop && limits, KMS_ERR_ARGUMENT);
	ENSURE(limits->max_transfers && limits->max_connections, KMS_ERR_RANGE);
	GUARD(fetch_memory_init());
	kms_fetcher *fetcher = kms_heap_alloc(1, sizeof(*fetcher));
	ENSURE(fetcher, KMS_ERR_MEMORY);
	fetcher->loop = loop;
	fetcher->max_running = limits->max_transfers;
	TAILQ_INIT(&fetcher->active);
	TAILQ_INIT(&fetcher->ready);
	kms_status status = KMS_OK;
	for (int i = 0; i < (int)KMS_FETCH_DIRECT_KINDS; i++) {
		kms_status made = fetch_links_init(&fetcher->links[i], &links_owner, fetcher, loop,
						   limits->max_connections);
		if (status == KMS_OK) status = made;
	}
	for (int i = 0; i < POOLS; i++) {
		pool *p = &fetcher->pools[i];
		p->fetcher = fetcher;
		TAILQ_INIT(&p->idle);
		uv_timer_init(loop, &p->timer);
		fetcher->handles++;
		if (status == KMS_OK) status = pool_init(p, limits);
	}
	if (status != KMS_OK) {
		kms_fetcher_close(fetcher);
		return status;
	}
	*out = fetcher;
	return KMS_OK;
}

void kms_fetcher_close(kms_fetcher *fetcher)
{
	if (!fetcher || fetcher->closed) return;
	fetcher->closed = true;
	for (int i = 0; i < (int)KMS_FETCH_DIRECT_KINDS; i++)
		fetch_links_close(&fetcher->links[i]);
	for (kms_fetch *fetch; (fetch = TAILQ_FIRST(&fetcher->active));)
		conclude(fetch, KMS_ERR_STATE);
	for (int i = 0; i < POOLS; i++) {
		pool *p = &fetcher->pools[i];
		curl_multi_cleanup(p->multi);
		for (watcher *w; (w = TAILQ_FIRST(&p->idle));) {
			TAILQ_REMOVE(&p->idle, w, link);
			watcher_close(w);
		}
		uv_close((uv_handle_t *)&p->timer, on_timer_closed);
	}
	deliver(fetcher);
}

static kms_status begin(kms_fetch *fetch)
{
	if (fetch->direct) return fetch_links_start(fetch, links_of(fetch));
	return curl_multi_add_handle(multi_of(fetch), fetch->easy) == CURLM_OK ? KMS_OK : KMS_ERR_MEMORY;
}

kms_status kms_fetch_start(kms_fetch *fetch, kms_fetcher *fetcher, void (*done)(void *context), void *context)
{
	ENSURE(fetch && fetcher && done, KMS_ERR_ARGUMENT);
	ENSURE(fetch->state == FETCH_NEW && !fetcher->closed, KMS_ERR_STATE);
	ENSURE(fetcher->running < fetcher->max_running, KMS_ERR_BUSY);
	GUARD(fetch_transfer_prepare(fetch));
	if (!fetch->has_deadline) uv_timer_init(fetcher->loop, &fetch->deadline);
	fetch->has_deadline = true;
	fetch->fetcher = fetcher;
	/* The loop's time is that of its last turn; whatever went on since then is not this transfer's. */
	uv_update_time(fetcher->loop);
	fetch->ends_ms = uv_now(fetcher->loop) + fetch->timeout_ms;
	limit(fetch, false);
	kms_status status = begin(fetch);
	if (status != KMS_OK) {
		uv_timer_stop(&fetch->deadline);
		fetch->fetcher = NULL;
		return status;
	}
	TAILQ_INSERT_TAIL(&fetcher->active, fetch, link);
	fetcher->running++;
	fetch->state = FETCH_RUNNING;
	fetch->done = done;
	fetch->context = context;
	return KMS_OK;
}
