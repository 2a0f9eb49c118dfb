/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A case as text, and back: what FAULTS_CASE has. */
#include "faults_priv.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const kind_names[FAULT_KINDS] = {
	[FAULT_CALL] = "call", [FAULT_ELEMENT] = "element", [FAULT_KILL_BEFORE] = "kill-before",
	[FAULT_KILL_AFTER] = "kill-after", [FAULT_DEV] = "dev", [FAULT_SYS] = "sys",
};

void faults_describe(const struct fault_world *w, const struct fault_case *c, char text[CASE_TEXT])
{
	int n = snprintf(text, CASE_TEXT, "%s", w->scenario[c->scenario]);

	for (unsigned int i = 0; i < c->n; i++)
		n += snprintf(text + n, (size_t)(CASE_TEXT - n), "/%s:%s:%llu:%d",
			      kind_names[c->fault[i].kind],
			      faults_op_name(c->fault[i].kind, c->fault[i].op),
			      (unsigned long long)c->fault[i].nth, c->fault[i].code);
}

static bool parse_fault(char *text, struct fault *f)
{
	char *save = NULL, *kind = strtok_r(text, ":", &save), *op = strtok_r(NULL, ":", &save);
	char *nth = strtok_r(NULL, ":", &save), *code = strtok_r(NULL, ":", &save);

	if (!kind || !op || !nth || !code)
		return false;
	f->nth = strtoull(nth, NULL, 10);
	f->code = atoi(code);
	for (unsigned int k = 0; k < FAULT_KINDS; k++) {
		f->kind = (enum fault_kind)k;
		for (f->op = 0; !strcmp(kind, kind_names[k]); f->op++) {
			const char *name = faults_op_name(f->kind, f->op);

			if (!name)
				break;
			if (!strcmp(name, op))
				return true;
		}
	}
	return false;
}

bool faults_parse(const struct fault_world *w, const char *from, struct fault_case *c)
{
	char text[CASE_TEXT], *save = NULL, *part;

	memset(c, 0, sizeof(*c));
	snprintf(text, sizeof(text), "%s", from);
	part = strtok_r(text, "/", &save);
	while (part && w->scenario[c->scenario] && strcmp(w->scenario[c->scenario], part))
		c->scenario++;
	if (!part || !w->scenario[c->scenario])
		return false;
	while ((part = strtok_r(NULL, "/", &save)) && c->n < FAULTS_MAX)
		if (!parse_fault(part, &c->fault[c->n++])) {
			fprintf(stderr, "%s: one of them is no fault\n", from);
			return false;
		}
	return true;
}
