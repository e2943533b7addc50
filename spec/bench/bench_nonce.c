/* Cost of nonces, and whether it grows with the number outstanding. */
#include "base/ensure.h"
#include "kms/nonce.h"
#include "lib/measure.h"

#define NONCE_LIFETIME_S 120
#define NONCES_OUT 1000000u
#define NONCE_BATCH 65536u

typedef struct nonce_box {
	kms_nonces *nonces;
	uint64_t now_s;
	uint64_t step_s; /* seconds between runs */
	char text[NONCE_BATCH][KMS_NONCE_TEXT];
} nonce_box;

static kms_status pass_time(void *context, size_t count)
{
	nonce_box *box = context;
	(void)count;
	box->now_s += box->step_s;
	return KMS_OK;
}

static kms_status run_issue(void *context, size_t count)
{
	nonce_box *box = context;
	for (size_t i = 0; i < count; i++)
		GUARD(kms_nonces_issue(box->text[i], box->nonces, box->now_s));
	return KMS_OK;
}

static kms_status issue_all(void *context, size_t count)
{
	GUARD(pass_time(context, count));
	return run_issue(context, count);
}

static kms_status run_consume(void *context, size_t count)
{
	nonce_box *box = context;
	for (size_t i = 0; i < count; i++)
		GUARD(kms_nonces_consume(box->nonces, kms_text_of(box->text[i], KMS_NONCE_TEXT), box->now_s));
	return KMS_OK;
}

static kms_status run_issue_consume(void *context, size_t count)
{
	nonce_box *box = context;
	for (size_t i = 0; i < count; i++) {
		GUARD(kms_nonces_issue(box->text[0], box->nonces, box->now_s));
		GUARD(kms_nonces_consume(box->nonces, kms_text_of(box->text[0], KMS_NONCE_TEXT), box->now_s));
	}
	return KMS_OK;
}

static kms_status bench_nonces(nonce_box *box)
{
	bench_figure none, million;

	/* Each run begins when all earlier nonces have expired. */
	*box = (nonce_box){ .now_s = 1000, .step_s = NONCE_LIFETIME_S + 1 };
	GUARD(kms_nonces_new(&box->nonces, NONCE_LIFETIME_S));
	bench_row(&(bench_case){ "nonce issue", run_issue, pass_time, box, NONCE_BATCH });
	bench_row(&(bench_case){ "nonce consume", run_consume, issue_all, box, NONCE_BATCH });
	bench_case both = { "nonce issue and consume, 0 out", run_issue_consume, pass_time, box,
			    NONCE_BATCH };
	bench_row(&both);
	bool measured = bench_measure(&none, &both);
	kms_nonces_free(box->nonces);

	*box = (nonce_box){ .now_s = 1000, .step_s = 0 };
	GUARD(kms_nonces_new(&box->nonces, 3600));
	for (size_t i = 0; i < NONCES_OUT; i++)
		GUARD(kms_nonces_issue(box->text[0], box->nonces, box->now_s));
	both.name = "nonce issue and consume, 1e6 out";
	bench_row(&both);
	measured = bench_measure(&million, &both) && measured;
	ENSURE(kms_nonces_out(box->nonces, box->now_s) >= NONCES_OUT, KMS_ERR_STATE);
	kms_nonces_free(box->nonces);
	if (measured) bench_at_most("nonce, 1e6 out by 0 out", million.cpu_us / none.cpu_us, 1.1);
	return KMS_OK;
}

int main(void)
{
	static nonce_box box;
	if (!bench_begin()) return 1;
	bench_title("Nonces");
	kms_status status = bench_nonces(&box);
	if (status != KMS_OK) (void)bench_failed("nonces", status);
	return bench_exit();
}
