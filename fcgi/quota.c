/* fcgi/quota.c - see quota.h. */
#include "fcgi/quota.h"

#include "common/gate_msg.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <uthash.h>

enum { QUOTA_FACTOR = 3 };

struct holder {
	char id[CONNECTION_ID_MAX_BYTES + 1];
	size_t slots;
	UT_hash_handle hh;
};

struct quota {
	pthread_mutex_t lock;
	size_t slots_max, slots_busy;
	struct holder *holders; /* ids with at least one slot */
};

struct quota *quota_new(size_t slots_max)
{
	struct quota *s = xcalloc(1, sizeof *s);

	s->slots_max = slots_max;
	CHECK(pthread_mutex_init(&s->lock, NULL) == 0);
	return s;
}

void quota_destroy(struct quota **sp)
{
	struct quota *s = *sp;

	*sp = NULL;
	if (s == NULL)
		return;
	CHECK(s->holders == NULL);
	pthread_mutex_destroy(&s->lock);
	free(s);
}

bool quota_reserve(struct quota *s, const char *id)
{
	struct holder *h;
	size_t have, free_slots;

	pthread_mutex_lock(&s->lock);
	HASH_FIND_STR(s->holders, id, h);
	have = h != NULL ? h->slots : 0;
	free_slots = s->slots_max - s->slots_busy;
	bool granted = have < QUOTA_FACTOR * free_slots;
	if (granted && h == NULL) {
		h = xcalloc(1, sizeof *h);
		strcpy(h->id, id);
		HASH_ADD_STR(s->holders, id, h);
	}
	if (granted) {
		h->slots++;
		s->slots_busy++;
	}
	pthread_mutex_unlock(&s->lock);
	return granted;
}

void quota_release(struct quota *s, const char *id)
{
	struct holder *h;

	pthread_mutex_lock(&s->lock);
	HASH_FIND_STR(s->holders, id, h);
	CHECK(h != NULL);
	s->slots_busy--;
	if (--h->slots == 0) {
		HASH_DEL(s->holders, h);
		free(h);
	}
	pthread_mutex_unlock(&s->lock);
}
