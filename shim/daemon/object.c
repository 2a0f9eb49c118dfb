/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/object.h"

static bool incomplete; /* the keeper is one thread */

static json_object *noted(json_object *o)
{
	incomplete |= !o;
	return o;
}

json_object *object_new(void)
{
	return noted(json_object_new_object());
}

json_object *object_new_list(void)
{
	return noted(json_object_new_array());
}

void object_add(json_object *o, const char *key, json_object *value)
{
	if (noted(value) && o && !json_object_object_add(o, key, value))
		return;
	incomplete = true;
	json_object_put(value);
}

void object_append(json_object *list, json_object *value)
{
	if (noted(value) && list && !json_object_array_add(list, value))
		return;
	incomplete = true;
	json_object_put(value);
}

bool object_complete(void)
{
	bool complete = !incomplete;

	incomplete = false;
	return complete;
}
