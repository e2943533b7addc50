#include "rounds.h"

#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/ensure.h"
#include "process.h"

#define CHECK_EVERY 16u

kms_status load_open(load *l)
{
	l->nonces = kms_heap_alloc(l->count, sizeof(*l->nonces));
	l->replies = kms_heap_alloc(l->count, sizeof(*l->replies));
	l->requests = kms_heap_alloc(l->count, sizeof(*l->requests));
	l->times = kms_heap_alloc(l->count, sizeof(*l->times));
	ENSURE(l->nonces && l->replies && l->requests && l->times, KMS_ERR_MEMORY);
	return client_new(&l->client, &l->address, l->connections);
}

void load_close(load *l)
{
	client_free(l->client);
	app_close(&l->app);
	kms_heap_free(l->nonces);
	kms_heap_free(l->replies);
	kms_heap_free(l->requests);
	kms_heap_free(l->times);
}

kms_status load_phase(phase *p, load *l, exchange *list, size_t count)
{
	uint64_t before = 0, after = 0;
	GUARD(process_cpu_ns(&before, l->pid));
	uint64_t begun = bench_wall_ns();
	GUARD(client_run(l->client, list, count, l->deadline_ns));
	double wall_us = (double)(bench_wall_ns() - begun) / 1e3;
	GUARD(process_cpu_ns(&after, l->pid));
	for (size_t i = 0; i < count; i++) {
		if (list[i].status != 200) {
			fprintf(stderr, "load: status %u: %.200s\n", list[i].status, list[i].request.text);
			return KMS_ERR_HTTP;
		}
		l->times[i] = list[i].took_us;
	}
	p->rate = (double)count * 1e6 / wall_us;
	p->p50 = bench_percentile(l->times, count, 0.5);
	p->p99 = bench_percentile(l->times, count, 0.99);
	p->cpu = (double)(after - before) / 1e3 / (double)count;
	return KMS_OK;
}

void load_clear(load *l, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		exchange_clear(&l->nonces[i]);
		exchange_clear(&l->replies[i]);
		app_request_clear(&l->requests[i]);
	}
}

kms_status load_nonces(phase *p, load *l, size_t count)
{
	static const char get[] = "GET /nonce HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n";
	for (size_t i = 0; i < count; i++)
		l->nonces[i] = (exchange){ .request = { get, sizeof(get) - 1 }, .keep = true };
	GUARD(load_phase(p, l, l->nonces, count));
	for (size_t i = 0; i < count; i++)
		GUARD(app_take_nonce(&l->requests[i], (char *)l->nonces[i].body.data, l->nonces[i].body.len));
	return KMS_OK;
}

kms_status load_write(load *l, app_operation operation, size_t value_len, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		app_request *request = &l->requests[i];
		GUARD(app_write(request, &l->app, operation, i, value_len));
		l->replies[i] =
		    (exchange){ .request = { (const char *)request->text.data, request->text.len },
				.keep = i % CHECK_EVERY == 0 };
	}
	return KMS_OK;
}

static kms_status round_of(result *r, load *l, app_operation operation, size_t value_len, size_t count)
{
	GUARD(load_nonces(&r->nonce, l, count));
	GUARD(load_write(l, operation, value_len, count));
	double unit = bench_unit_us();
	GUARD(load_phase(&r->request, l, l->replies, count));
	unit = (unit + bench_unit_us()) / 2;
	for (size_t i = 0; i < count; i += CHECK_EVERY)
		GUARD(app_check(&l->replies[i], &l->requests[i], &l->app, operation, i, value_len));
	r->request_ratio = r->request.cpu / unit;
	r->both_ratio = (r->nonce.cpu + r->request.cpu) / unit;
	return KMS_OK;
}

kms_status load_round(result *r, load *l, app_operation operation, size_t value_len, size_t count)
{
	kms_status status = round_of(r, l, operation, value_len, count);
	load_clear(l, count);
	return status;
}

/* Of one field of all results, by its offset. */
static bench_spread spread_of(const result *results, unsigned count, size_t field)
{
	double values[LOAD_MAX_ROUNDS];
	for (unsigned i = 0; i < count; i++)
		memcpy(&values[i], (const char *)&results[i] + field, sizeof(values[i]));
	return bench_spread_of(values, count);
}

static phase phase_of(const result *results, unsigned count, size_t field)
{
	return (phase){ .rate = spread_of(results, count, field + offsetof(phase, rate)).median,
			.p50 = spread_of(results, count, field + offsetof(phase, p50)).median,
			.p99 = spread_of(results, count, field + offsetof(phase, p99)).median,
			.cpu = spread_of(results, count, field + offsetof(phase, cpu)).median };
}

summary load_summary(const result *results, unsigned count)
{
	return (summary){ .nonce = phase_of(results, count, offsetof(result, nonce)),
			  .request = phase_of(results, count, offsetof(result, request)),
			  .both_ratio = spread_of(results, count, offsetof(result, both_ratio)),
			  .request_ratio = spread_of(results, count, offsetof(result, request_ratio)) };
}
