/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * JSON to be written. json-c gives NULL where memory lacks, and aborts the process when it is given
 * that to add to: these take it, and whoever sends or saves the whole asks once whether it is one.
 */
#ifndef XVS_DAEMON_OBJECT_H
#define XVS_DAEMON_OBJECT_H

#include <json-c/json.h>
#include <stdbool.h>

json_object *object_new(void);
json_object *object_new_list(void);
/* Both take the value over, also where nothing can be added. */
void object_add(json_object *o, const char *key, json_object *value);
void object_append(json_object *list, json_object *value);
/* Was there memory for all since it was asked last? */
bool object_complete(void);

#endif
