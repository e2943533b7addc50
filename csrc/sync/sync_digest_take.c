/* Taking answers: what of a question differs. Nothing that an answer says is trusted: it names what to ask
 * next. */
#include <string.h>

#include "base/ensure.h"
#include "sync/sync_digest_asking.h"

static kms_status take_root(kms_digest *d, kms_reader *reader)
{
	uint32_t first;
	kms_tree_root theirs;
	const kms_tree_range all = { 0 };
	GUARD(kms_digest_read_root(&first, &theirs, reader));
	ENSURE(first >= d->first_hour, KMS_ERR_RECORD);
	if (first > d->first_hour) GUARD(kms_tree_get_root(&d->root, d->store, first));
	d->first_hour = first;
	if (memcmp(d->root.lasting, theirs.lasting, KMS_TREE_DIGEST) != 0)
		GUARD(kms_digest_add_range(&d->ranges, &all));
	if (memcmp(d->root.ending, theirs.ending, KMS_TREE_DIGEST) != 0) d->next_hour = first;
	d->equal = d->ranges.count == 0 && !d->next_hour;
	return KMS_OK;
}

static kms_status add_children(kms_digest *d, const asked_item *asked, uint32_t mask)
{
	for (uint64_t i = 0; i < KMS_TREE_CHILDREN; i++) {
		if (mask >> i & 1) GUARD(kms_digest_add_child(&d->ranges, &asked->range, i));
	}
	return KMS_OK;
}

/* `lacking`: mask of the leaves that were asked about and that the peer lacks; `missing`: of the peer's. */
static kms_status add_differences(kms_digest *d, const asked_item *asked, uint32_t lacking,
				  const digest_short *missing, size_t count)
{
	for (size_t i = 0; i < asked->count; i++) {
		if (lacking >> i & 1)
			GUARD(kms_digest_add_version(&d->given, &asked->range, asked->shorts[i]));
	}
	for (size_t i = 0; i < count; i++)
		GUARD(kms_digest_add_version(&d->wanted, &asked->range, missing[i]));
	return KMS_OK;
}

/* The peer has few leaves, of a range that has children here, or of one whose sum does not tell what differs.
 */
static kms_status take_leaves(kms_digest *d, const asked_item *asked, kms_reader *reader)
{
	uint32_t lacking;
	size_t count, missed;
	digest_short shorts[KMS_TREE_BUCKET], missing[KMS_TREE_BUCKET];
	ENSURE(asked->form == DIGEST_CHILDREN || asked->form == DIGEST_SUM, KMS_ERR_RECORD);
	GUARD(kms_digest_read_shorts(shorts, &count, reader));
	if (asked->form == DIGEST_SUM) {
		kms_digest_compare(&lacking, missing, &missed, (const digest_short *)asked->shorts,
				   asked->count, (const digest_short *)shorts, count);
		return add_differences(d, asked, lacking, (const digest_short *)missing, missed);
	}
	if (count == 0) return kms_digest_add_range(&d->whole, &asked->range);
	return add_children(d, asked, 0xffff);
}

static kms_status take_lacks(kms_digest *d, const asked_item *asked, kms_reader *reader)
{
	uint32_t lacking;
	size_t count;
	digest_short shorts[KMS_TREE_BUCKET];
	ENSURE(asked->form == DIGEST_LEAVES || asked->form == DIGEST_SUM, KMS_ERR_RECORD);
	GUARD(kms_digest_read_number(&lacking, reader, 4));
	ENSURE(asked->count == KMS_TREE_BUCKET || lacking >> asked->count == 0, KMS_ERR_RECORD);
	GUARD(kms_digest_read_shorts(shorts, &count, reader));
	return add_differences(d, asked, lacking, (const digest_short *)shorts, count);
}

/* The peer has one leaf less: the one by which the sums differ, unless more than one leaf differs. */
static kms_status take_sum(kms_digest *d, const asked_item *asked, kms_reader *reader)
{
	size_t count;
	digest_short lone;
	ENSURE(asked->form == DIGEST_SUM, KMS_ERR_RECORD);
	GUARD(kms_digest_read_sum(lone, &count, reader));
	ENSURE(count + 1 == asked->count, KMS_ERR_RECORD);
	const digest_short *own = (const digest_short *)asked->shorts;
	kms_digest_sum(lone, own, asked->count);
	if (!kms_digest_has_short(own, asked->count, lone))
		return kms_digest_add_range(&d->lists, &asked->range);
	return kms_digest_add_version(&d->given, &asked->range, lone);
}

static kms_status take_hours(kms_digest *d, kms_reader *reader)
{
	uint32_t count, last = d->first_hour - 1;
	GUARD(kms_digest_read_number(&count, reader, 2));
	ENSURE(count <= DIGEST_HOURS, KMS_ERR_RECORD);
	for (uint32_t i = 0; i < count; i++) {
		kms_tree_range range = { 0 };
		GUARD(kms_digest_read_number(&range.hour, reader, 4));
		ENSURE(range.hour > last, KMS_ERR_RECORD);
		last = range.hour;
		GUARD(kms_digest_add_range(&d->ranges, &range));
	}
	return KMS_OK;
}

static kms_status take_item(kms_digest *d, const asked_item *asked, kms_reader *reader)
{
	uint32_t form, mask;
	GUARD(kms_digest_read_number(&form, reader, 1));
	if (asked->form == DIGEST_HOURS_FORM) {
		ENSURE(form == DIGEST_HOURS_FORM, KMS_ERR_RECORD);
		return take_hours(d, reader);
	}
	switch (form) {
	case DIGEST_CHILDREN:
		GUARD(kms_digest_read_number(&mask, reader, 2));
		return add_children(d, asked, mask);
	case DIGEST_LEAVES:
		return take_leaves(d, asked, reader);
	case DIGEST_LACKS:
		return take_lacks(d, asked, reader);
	case DIGEST_SUM:
		return take_sum(d, asked, reader);
	default:
		return KMS_ERR_RECORD;
	}
}

static kms_status take_compare(kms_digest *d, kms_reader *reader)
{
	size_t ranges = d->ranges.count, whole = d->whole.count;
	for (size_t i = 0; i < d->asked_count; i++)
		GUARD(take_item(d, &d->asked[i], reader));
	kms_digest_shuffle(&d->ranges, ranges, d);
	kms_digest_shuffle(&d->whole, whole, d);
	return KMS_OK;
}

static kms_status take_move(kms_digest *d, kms_reader *reader)
{
	uint32_t looked_up;
	GUARD(kms_digest_read_number(&looked_up, reader, 2));
	ENSURE(looked_up <= d->wanting, KMS_ERR_RECORD);
	kms_digest_moved(d, looked_up);
	return KMS_OK;
}

static bool is_done(const kms_digest *d)
{
	return d->ranges.count == 0 && d->lists.count == 0 && d->whole.count == 0 && !d->next_hour &&
	       d->given.count == 0 && d->wanted.count == 0;
}

static kms_status take_answer(kms_digest *d, kms_reader *reader)
{
	digest_kind kind;
	uint8_t key_id[KMS_TREE_KEY_ID];
	GUARD(kms_digest_read_head(&kind, key_id, reader));
	bool same_key = memcmp(key_id, d->root.key_id, sizeof(key_id)) == 0;
	ENSURE(same_key == (kind != DIGEST_OTHER_KEY), KMS_ERR_RECORD);
	if (!same_key) {
		d->state = KMS_DIGEST_OTHER_KEY;
		return KMS_OK;
	}
	ENSURE(kind == d->last, KMS_ERR_RECORD);
	if (kind == DIGEST_ROOT) GUARD(take_root(d, reader));
	if (kind == DIGEST_COMPARE) GUARD(take_compare(d, reader));
	if (kind == DIGEST_MOVE) GUARD(take_move(d, reader));
	if (is_done(d)) d->state = d->equal ? KMS_DIGEST_EQUAL : KMS_DIGEST_DONE;
	return KMS_OK;
}

kms_status kms_digest_take(kms_digest *digest, kms_span answer)
{
	ENSURE_REF(digest);
	ENSURE(digest->state == KMS_DIGEST_ASKING && digest->last, KMS_ERR_STATE);
	ENSURE(answer.bytes && answer.len <= KMS_DIGEST_MAX, KMS_ERR_RECORD);
	kms_reader reader = kms_reader_make(answer);
	kms_status status = take_answer(digest, &reader);
	if (status == KMS_OK && kms_reader_left(&reader) > 0) status = KMS_ERR_RECORD;
	if (status != KMS_OK) digest->state = KMS_DIGEST_DONE;
	return status;
}
