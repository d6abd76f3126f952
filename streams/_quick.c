/* The hot loops of the engine, for the usual case. Their twin is the Python beside each call (streams/column.py,
   streams/memory.py, streams/kafka_log.py), which does everything else and everything where this could not be built.

   take    records of a batch are decoded, applied and kept in the overlay, as long as nothing about them is unusual.
           What is unusual is not decided here: take() stops before it, Python takes that one record, and take() goes on.
           A processor is pure, so one that raised here is simply asked again there.
   outs    outputs of a transaction become what is written, up to the first unusual one
   frames  the same with its state records
   merge   what a committed transaction says becomes the column's state; what is unusual is given to Python one by one
   View    what a processor is shown; what is neither in the transaction nor decoded is looked up in Python
   rows    the client's messages become records
   runs    where the records of one partition begin and end in a batch
   send    what is written is handed to the client */

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stddef.h>
#include <stdint.h>
#include <structmember.h>

static PyObject *s_topic, *s_place, *s_homes, *s_head, *s_decode, *s_key_field, *s_next, *s_seen, *s_puts, *s_wakes, *s_waits, *s_outputs, *s_fate,
    *s_settled, *s_dead, *s_again, *s_record, *s_wake, *s_cause, *s_at, *s_value, *s_partition, *s_key, *s_values, *s_members, *s_bar, *s_groups,
    *s_aggregate;

static struct {
    PyObject **at;
    const char *text;
} NAMES[] = {{&s_topic, "topic"},   {&s_place, "place"},         {&s_homes, "homes"},     {&s_head, "head"},       {&s_decode, "decode"},
             {&s_key_field, "key_field"}, {&s_next, "next"},     {&s_seen, "seen"},       {&s_puts, "puts"},       {&s_wakes, "wakes"},
             {&s_waits, "waits"},   {&s_outputs, "outputs"},     {&s_fate, "fate"},       {&s_settled, "settled"}, {&s_dead, "dead"},
             {&s_again, "again"},   {&s_record, "record"},       {&s_wake, "wake"},       {&s_cause, "cause"},     {&s_at, "at"},
             {&s_value, "value"},   {&s_partition, "partition"}, {&s_key, "key"},         {&s_values, "values"},  {&s_members, "_members"},
             {&s_bar, "|"},         {&s_groups, "_groups"},      {&s_aggregate, "_aggregate"}};

/* A tuple of a subclass of tuple; takes over the references. */
static PyObject *named_tuple(PyObject *type, PyObject **items, Py_ssize_t n) {
    PyObject *made = ((PyTypeObject *)type)->tp_alloc((PyTypeObject *)type, n);
    for (Py_ssize_t i = 0; i < n; i++) {
        if (made != NULL)
            PyTuple_SET_ITEM(made, i, items[i]);
        else
            Py_DECREF(items[i]);
    }
    return made;
}

/* --- puts */

enum { RECORD, WAKE, WAITS, CAUSE, AT, VALUE, PUT_FIELDS };

/* Where the fields of a Put lie in it, as of a type made for them and nothing else. Otherwise `plain` is 0, and attributes are asked for. */
typedef struct {
    PyTypeObject *type;
    Py_ssize_t offsets[PUT_FIELDS];
    int plain;
} Layout;

static PyObject *put_field_name(int field) {
    PyObject *names[] = {s_record, s_wake, s_waits, s_cause, s_at, s_value};
    return names[field];
}

static int layout_of(PyObject *Put, Layout *layout) {
    *layout = (Layout){.type = (PyTypeObject *)Put};
    if (!PyType_Check(Put)) {
        PyErr_SetString(PyExc_TypeError, "Put is a type");
        return 0;
    }
    PyTypeObject *type = layout->type;
    layout->plain = type->tp_itemsize == 0 && !PyType_IS_GC(type) && type->tp_basicsize == (Py_ssize_t)(sizeof(PyObject) + PUT_FIELDS * sizeof(PyObject *));
    for (int i = 0; i < PUT_FIELDS; i++) {
        PyObject *member = PyObject_GetAttr(Put, put_field_name(i));
        if (member == NULL)
            return 0;
        if (Py_IS_TYPE(member, &PyMemberDescr_Type) && ((PyMemberDescrObject *)member)->d_member->type == T_OBJECT_EX)
            layout->offsets[i] = ((PyMemberDescrObject *)member)->d_member->offset;
        layout->plain = layout->plain && layout->offsets[i] >= (Py_ssize_t)sizeof(PyObject);
        Py_DECREF(member);
    }
    return 1;
}

static PyObject **put_slot(const Layout *layout, PyObject *put, int field) {
    return layout->plain && Py_IS_TYPE(put, layout->type) ? (PyObject **)((char *)put + layout->offsets[field]) : NULL;
}

static PyObject *put_field(const Layout *layout, PyObject *put, int field) {
    PyObject **slot = put_slot(layout, put, field);
    return slot != NULL && *slot != NULL ? Py_NewRef(*slot) : PyObject_GetAttr(put, put_field_name(field));
}

static int set_put_value(const Layout *layout, PyObject *put, PyObject *value) {
    PyObject **slot = put_slot(layout, put, VALUE);
    if (slot == NULL)
        return PyObject_SetAttr(put, s_value, value) == 0;
    Py_XSETREF(*slot, Py_NewRef(value));
    return 1;
}

/* A Put without a value. */
static PyObject *make_put(const Layout *layout, PyObject *record, PyObject *wake, PyObject *waits, PyObject *cause, PyObject *at) {
    PyObject *fields[] = {record, wake, waits, cause, at, Py_None};
    if (!layout->plain)
        return PyObject_Vectorcall((PyObject *)layout->type, fields, PUT_FIELDS, NULL);
    PyObject *put = layout->type->tp_alloc(layout->type, 0);
    for (int i = 0; put != NULL && i < PUT_FIELDS; i++)
        *put_slot(layout, put, i) = Py_NewRef(fields[i]);
    return put;
}

/* Walks through the puts of a transaction. They have long left the processor's caches when they are come to again, so those that
   follow are asked for a few steps before: first what the dict points at, then what that points at. */
typedef struct {
    PyObject *puts;
    Py_ssize_t at, near, far;
} Walk;

#if defined(__GNUC__) || defined(__clang__)
#define ASK_FOR(memory) __builtin_prefetch(memory)
#else
#define ASK_FOR(memory) (void)(memory)
#endif
#define NEAR 4
#define FAR 8

static void look_ahead(Walk *walk) {
    PyObject *address, *put;
    if (PyDict_Next(walk->puts, &walk->far, &address, &put)) {
        ASK_FOR(address);
        ASK_FOR(put);
        ASK_FOR((char *)put + 64);
    }
}

static void look_nearer(Walk *walk, const Layout *layout) {
    PyObject *address, *put;
    if (PyDict_Next(walk->puts, &walk->near, &address, &put)) {
        ASK_FOR(PyTuple_GET_ITEM(address, 1));
        PyObject **slot = put_slot(layout, put, RECORD);
        if (slot != NULL)
            ASK_FOR(*slot);
        slot = put_slot(layout, put, VALUE);
        if (slot != NULL)
            ASK_FOR(*slot);
    }
}

static Walk walk_through(PyObject *puts, const Layout *layout) {
    Walk walk = {puts, 0, 0, 0};
    for (int i = 0; i < FAR; i++)
        look_ahead(&walk);
    for (int i = 0; i < NEAR; i++)
        look_nearer(&walk, layout);
    return walk;
}

static int next_put(Walk *walk, const Layout *layout, PyObject **address, PyObject **put) {
    look_ahead(walk);
    look_nearer(walk, layout);
    return PyDict_Next(walk->puts, &walk->at, address, put);
}

/* --- take */

#define TALLIES 16
#define MANY 256 /* as in streams/store.py */

typedef struct {
    PyObject *source, *fate;
    long n;
} Tally;

typedef struct {
    /* given, borrowed */
    PyObject *lanes, *view, *overlay_puts, *decoded, *values, *has, *aggregate, *groups, *changed, *source, *apply, *key_of, *home, *states, *outputs, *pending, *count, *Event, *none, *parked, *number;
    Layout layout;
    /* the lane of the last record, owned */
    PyObject *lane, *place, *homes, *head, *decode, *key_field;
    long long next, seen;
    Tally tallies[TALLIES];
    int tallied;
} Run;

static int count_fates(Run *run) {
    int ok = 1;
    for (int i = 0; i < run->tallied; i++) {
        Tally *tally = &run->tallies[i];
        PyObject *done = ok ? PyObject_CallFunction(run->count, "OOOl", run->place, tally->source, tally->fate, tally->n) : NULL;
        ok = done != NULL;
        Py_XDECREF(done);
        Py_DECREF(tally->source);
        Py_DECREF(tally->fate);
    }
    run->tallied = 0;
    return ok;
}

static int add_fate(Run *run, PyObject *source, PyObject *fate) {
    for (int i = 0; i < run->tallied; i++) {
        Tally *tally = &run->tallies[i];
        if (tally->fate == fate && (tally->source == source || PyUnicode_Compare(tally->source, source) == 0)) {
            tally->n++;
            return 1;
        }
    }
    if (run->tallied == TALLIES && !count_fates(run))
        return 0;
    run->tallies[run->tallied++] = (Tally){Py_NewRef(source), Py_NewRef(fate), 1};
    return 1;
}

/* What has been done in the lane so far is told to it. */
static int leave_lane(Run *run) {
    if (run->lane == NULL)
        return 1;
    int ok = count_fates(run);
    PyObject *next = ok ? PyLong_FromLongLong(run->next) : NULL, *seen = ok ? PyLong_FromLongLong(run->seen) : NULL;
    ok = next != NULL && seen != NULL && PyObject_SetAttr(run->lane, s_next, next) == 0 && PyObject_SetAttr(run->lane, s_seen, seen) == 0;
    Py_XDECREF(next);
    Py_XDECREF(seen);
    Py_CLEAR(run->lane);
    Py_CLEAR(run->place);
    Py_CLEAR(run->homes);
    Py_CLEAR(run->head);
    Py_CLEAR(run->decode);
    Py_CLEAR(run->key_field);
    return ok;
}

static int number_of(PyObject *object, PyObject *name, long long *out) {
    PyObject *value = PyObject_GetAttr(object, name);
    *out = value == NULL ? -1 : PyLong_AsLongLong(value);
    Py_XDECREF(value);
    return !(*out == -1 && PyErr_Occurred());
}

/* 1: its lane is ready; 0: it has none that can be taken here; -1: an error */
static int enter_lane(Run *run, PyObject *topic) {
    if (!leave_lane(run))
        return -1;
    PyObject *lane = PyDict_GetItemWithError(run->lanes, topic);
    if (lane == NULL)
        return PyErr_Occurred() ? -1 : 0;
    run->decode = PyObject_GetAttr(lane, s_decode);
    if (run->decode == NULL)
        return -1;
    if (run->decode == Py_None) {
        Py_CLEAR(run->decode);
        return 0;
    }
    run->lane = Py_NewRef(lane);
    run->place = PyObject_GetAttr(lane, s_place);
    run->homes = PyObject_GetAttr(lane, s_homes);
    run->head = PyObject_GetAttr(lane, s_head);
    run->key_field = PyObject_GetAttr(lane, s_key_field);
    if (run->place == NULL || run->homes == NULL || run->head == NULL || run->key_field == NULL || !number_of(lane, s_next, &run->next) ||
        !number_of(lane, s_seen, &run->seen))
        return -1;
    return 1;
}

/* Whether key and value fit each other. */
static int is_key(Run *run, PyObject *topic, PyObject *value, PyObject *key) {
    PyObject *said = run->key_field == Py_None ? PyObject_CallFunctionObjArgs(run->key_of, topic, value, NULL) : PyObject_GetAttr(value, run->key_field);
    if (said == NULL)
        return -1;
    int same = PyUnicode_CheckExact(said) ? PyUnicode_Compare(said, key) == 0 : 0;
    Py_DECREF(said);
    return PyErr_Occurred() ? -1 : same;
}

/* The record as an Event, or NULL: unusual, or an error. */
static PyObject *event_of(Run *run, PyObject *record) {
    PyObject *raw_key = PyTuple_GET_ITEM(record, 3), *data = PyTuple_GET_ITEM(record, 4), *heads = PyTuple_GET_ITEM(record, 5);
    Py_ssize_t head = PyBytes_GET_SIZE(run->head);
    if (!PyBytes_CheckExact(data) || !PyBytes_CheckExact(raw_key) || PyBytes_GET_SIZE(data) < head ||
        memcmp(PyBytes_AS_STRING(data), PyBytes_AS_STRING(run->head), head) != 0)
        return NULL;
    PyObject *key = Py_XNewRef(PyDict_GetItemWithError(run->homes, raw_key));
    if (key == NULL && !PyErr_Occurred())
        key = PyObject_CallFunctionObjArgs(run->home, PyTuple_GET_ITEM(record, 0), raw_key, run->homes, NULL);
    if (key == NULL || !PyUnicode_CheckExact(key)) {
        Py_XDECREF(key);
        return NULL;
    }
    PyObject *start = PyLong_FromSsize_t(head);
    PyObject *value = start == NULL ? NULL : PyObject_CallFunctionObjArgs(run->decode, data, start, NULL);
    Py_XDECREF(start);
    if (value == NULL || value == Py_None || is_key(run, PyTuple_GET_ITEM(record, 0), value, key) != 1) {
        Py_DECREF(key);
        Py_XDECREF(value);
        return NULL;
    }
    PyObject *known;
    int bare = PyTuple_CheckExact(heads) && PyTuple_GET_SIZE(heads) == 0;
    known = bare ? Py_NewRef(run->none) : PyDict_New();
    PyObject *event = NULL;
    if (known != NULL && (bare || PyDict_MergeFromSeq2(known, heads, 1) == 0)) {
        PyObject *args[] = {PyTuple_GET_ITEM(record, 0), key, value, PyTuple_GET_ITEM(record, 6), known, run->number, PyTuple_GET_ITEM(record, 2), record};
        event = PyObject_Vectorcall(run->Event, args, 8, NULL);
    }
    Py_XDECREF(known);
    Py_DECREF(key);
    Py_DECREF(value);
    return event;
}

typedef struct {
    PyObject *puts, *wakes, *waits, *outputs, *fate, *settled, *dead, *again;
} Step;

static void drop_step(Step *step) {
    Py_XDECREF(step->puts);
    Py_XDECREF(step->wakes);
    Py_XDECREF(step->waits);
    Py_XDECREF(step->outputs);
    Py_XDECREF(step->fate);
    Py_XDECREF(step->settled);
    Py_XDECREF(step->dead);
    Py_XDECREF(step->again);
}

static int is_empty(PyObject *sequence) { return sequence != NULL && PyObject_Size(sequence) == 0; }

/* Every wake or wait is put on a record that is put. */
static int rests_on_puts(PyObject *asked, PyObject *puts) {
    PyObject *address, *moment;
    Py_ssize_t at = 0;
    if (!PyDict_CheckExact(asked))
        return 0;
    while (PyDict_Next(asked, &at, &address, &moment)) {
        PyObject *record = PyDict_GetItemWithError(puts, address);
        if (record == NULL || record == Py_None)
            return 0;
    }
    return 1;
}

/* Whether the answer is one that can be kept here. */
static int read_step(Run *run, PyObject *answer, Step *step) {
    *step = (Step){PyObject_GetAttr(answer, s_puts),    PyObject_GetAttr(answer, s_wakes), PyObject_GetAttr(answer, s_waits),
                   PyObject_GetAttr(answer, s_outputs), PyObject_GetAttr(answer, s_fate),  PyObject_GetAttr(answer, s_settled),
                   PyObject_GetAttr(answer, s_dead),    PyObject_GetAttr(answer, s_again)};
    if (step->puts == NULL || step->wakes == NULL || step->waits == NULL || step->outputs == NULL || step->fate == NULL)
        return 0;
    if (step->fate == run->parked || !is_empty(step->settled) || !is_empty(step->dead) || !is_empty(step->again) || !PyDict_CheckExact(step->puts) ||
        !rests_on_puts(step->wakes, step->puts) || !rests_on_puts(step->waits, step->puts))
        return 0;
    PyObject *address, *record;
    Py_ssize_t at = 0;
    while (PyDict_Next(step->puts, &at, &address, &record))
        if (!PyTuple_CheckExact(address) || PyTuple_GET_SIZE(address) != 2 || PySet_Contains(run->states, PyTuple_GET_ITEM(address, 0)) != 1)
            return 0;
    if (!PyList_CheckExact(step->outputs) && !PyTuple_CheckExact(step->outputs))
        return 0;
    for (Py_ssize_t i = 0; i < PySequence_Fast_GET_SIZE(step->outputs); i++) {
        PyObject *topic = PyObject_GetAttr(PySequence_Fast_GET_ITEM(step->outputs, i), s_topic);
        int known = topic != NULL && PySet_Contains(run->outputs, topic) == 1;
        Py_XDECREF(topic);
        if (!known)
            return 0;
    }
    return 1;
}

static PyObject *asked_for(PyObject *asked, PyObject *address) {
    PyObject *found = PyDict_GET_SIZE(asked) ? PyDict_GetItemWithError(asked, address) : NULL;
    return Py_NewRef(found == NULL ? Py_None : found);
}

/* Whether a topic's dict has the key: 1, 0, -1 with an error, or 2: the topic has none. */
static int holds(PyObject *topics, PyObject *topic, PyObject *key) {
    PyObject *dict = PyDict_GetItemWithError(topics, topic);
    if (dict == NULL)
        return PyErr_Occurred() ? -1 : 2;
    return PyDict_CheckExact(dict) ? PyDict_Contains(dict, key) : 2;
}

/* Whether there is a committed record: 1, 0, or -1 with an error. */
static int is_there(Run *run, PyObject *address) {
    PyObject *topic = PyTuple_GET_ITEM(address, 0), *key = PyTuple_GET_ITEM(address, 1);
    int there = holds(run->decoded, topic, key);
    if (there == 1 || there == -1)
        return there;
    there = holds(run->values, topic, key);
    if (there != 2)
        return there;
    PyObject *has = PyObject_CallFunctionObjArgs(run->has, topic, key, NULL);
    there = has == NULL ? -1 : PyObject_IsTrue(has);
    Py_XDECREF(has);
    return there;
}

/* A record comes or goes: the overlay has to know, as Overlay.put tells it. */
static int comes_or_goes(Run *run, PyObject *address, PyObject *there) {
    PyObject *topic = PyTuple_GET_ITEM(address, 0), *key = PyTuple_GET_ITEM(address, 1);
    PyObject *aggregate = PyObject_CallFunctionObjArgs(run->aggregate, topic, key, NULL);
    PyObject *group = aggregate == NULL ? NULL : PyTuple_Pack(2, topic, aggregate);
    PyObject *members = group == NULL ? NULL : Py_XNewRef(PyDict_GetItemWithError(run->changed, group));
    if (group != NULL && members == NULL && !PyErr_Occurred() && (members = PyDict_New()) != NULL && PyDict_SetItem(run->changed, group, members) < 0)
        Py_CLEAR(members);
    int ok = members != NULL && PyDict_SetItem(members, key, there) == 0 && PyDict_SetItem(run->groups, address, aggregate) == 0;
    Py_XDECREF(members);
    Py_XDECREF(group);
    Py_XDECREF(aggregate);
    return ok;
}

static int keep_put(Run *run, Step *step, PyObject *address, PyObject *record, PyObject *at) {
    PyObject *last = PyDict_GetItemWithError(run->overlay_puts, address);
    int there;
    if (last != NULL) {
        PyObject *now = put_field(&run->layout, last, RECORD);
        there = now == NULL ? -1 : now != Py_None;
        Py_XDECREF(now);
    } else
        there = PyErr_Occurred() ? -1 : is_there(run, address);
    if (there < 0)
        return 0;
    PyObject *wake = asked_for(step->wakes, address), *waits = asked_for(step->waits, address);
    PyObject *put = make_put(&run->layout, record, wake, waits, run->place, at);
    Py_DECREF(wake);
    Py_DECREF(waits);
    if (put == NULL)
        return 0;
    int ok = there == (record != Py_None) || comes_or_goes(run, address, record != Py_None ? Py_True : Py_False);
    ok = ok && PyDict_SetItem(run->overlay_puts, address, put) == 0;
    Py_DECREF(put);
    return ok;
}

static int keep_step(Run *run, Step *step, PyObject *at) {
    PyObject *address, *record;
    Py_ssize_t position = 0;
    while (PyDict_Next(step->puts, &position, &address, &record))
        if (!keep_put(run, step, address, record, at))
            return 0;
    for (Py_ssize_t i = 0; i < PySequence_Fast_GET_SIZE(step->outputs); i++) {
        PyObject *pending = PyTuple_Pack(3, PySequence_Fast_GET_ITEM(step->outputs, i), run->place, at);
        int ok = pending != NULL && PyList_Append(run->pending, pending) == 0;
        Py_XDECREF(pending);
        if (!ok)
            return 0;
    }
    return 1;
}

/* 1: taken; 0: unusual, nothing has been kept of it (an error may be set, Python will come to it again); -1: an error to be raised */
static int take_one(Run *run, PyObject *record) {
    if (!PyTuple_Check(record) || PyTuple_GET_SIZE(record) != 7)
        return 0;
    PyObject *topic = PyTuple_GET_ITEM(record, 0);
    if (run->lane == NULL || PyTuple_GET_ITEM(run->place, 0) != topic) {
        int known = run->lane != NULL ? PyObject_RichCompareBool(PyTuple_GET_ITEM(run->place, 0), topic, Py_EQ) : 0;
        if (!known)
            known = enter_lane(run, topic);
        if (known != 1)
            return known;
    }
    PyObject *event = event_of(run, record);
    if (event == NULL)
        return 0;
    PyObject *source = PyObject_CallOneArg(run->source, event);
    PyObject *answer = source == NULL || !PyUnicode_CheckExact(source) ? NULL : PyObject_CallFunctionObjArgs(run->apply, run->view, event, NULL);
    Py_DECREF(event);
    Step step = {NULL};
    int result = 0;
    if (answer != NULL && read_step(run, answer, &step)) {
        PyObject *at = PyTuple_GET_ITEM(record, 6);
        long long offset = PyLong_AsLongLong(PyTuple_GET_ITEM(record, 2)), moment = PyLong_AsLongLong(at);
        result = !PyErr_Occurred() && keep_step(run, &step, at) && add_fate(run, source, step.fate) ? 1 : -1;
        run->next = offset + 1;
        if (moment > run->seen)
            run->seen = moment;
    }
    drop_step(&step);
    Py_XDECREF(answer);
    Py_XDECREF(source);
    return result;
}

PyDoc_STRVAR(take_doc, "take(records, start, lanes, view, puts, decoded, values, has, aggregate, groups, changed, source, apply, key_of, home, states, outputs,\n"
                       "     pending, count, Event, Put, no_headers, parked, number)\n"
                       "-> index of the first record from `start` on that has not been taken; len(records) when all were.");

static PyObject *take(PyObject *module, PyObject *args) {
    PyObject *records, *Put;
    Py_ssize_t start;
    Run run = {NULL};
    if (!PyArg_ParseTuple(args, "O!nO!OO!O!O!OOO!O!OOOOO!O!O!OOOOOO", &PyList_Type, &records, &start, &PyDict_Type, &run.lanes, &run.view, &PyDict_Type,
                          &run.overlay_puts, &PyDict_Type, &run.decoded, &PyDict_Type, &run.values, &run.has, &run.aggregate, &PyDict_Type, &run.groups, &PyDict_Type, &run.changed, &run.source, &run.apply, &run.key_of, &run.home, &PyFrozenSet_Type, &run.states, &PyFrozenSet_Type,
                          &run.outputs, &PyList_Type, &run.pending, &run.count, &run.Event, &Put, &run.none, &run.parked, &run.number) ||
        !layout_of(Put, &run.layout))
        return NULL;
    int went = 1;
    Py_ssize_t at = start;
    while (at < PyList_GET_SIZE(records) && (went = take_one(&run, PyList_GET_ITEM(records, at))) == 1)
        at++;
    if (went == 0 && PyErr_Occurred()) {
        if (PyErr_ExceptionMatches(PyExc_Exception) && !PyErr_ExceptionMatches(PyExc_MemoryError))
            PyErr_Clear(); /* Python comes to it again and says what it means */
        else
            went = -1;
    }
    if (went == -1) {
        PyObject *type, *value, *trace;
        PyErr_Fetch(&type, &value, &trace);
        if (!leave_lane(&run))
            PyErr_Clear();
        PyErr_Restore(type, value, trace);
        return NULL;
    }
    return leave_lane(&run) ? PyLong_FromSsize_t(at) : NULL;
}

/* --- frames */

static PyObject *framed(PyObject *framers, PyObject *frame, PyObject *topic, PyObject *record, Py_ssize_t largest) {
    PyObject *framer = PyDict_GetItemWithError(framers, topic), *value = NULL;
    if (framer == NULL && PyErr_Occurred())
        return NULL;
    if (framer != NULL) {
        value = PyObject_CallFunctionObjArgs(PyTuple_GET_ITEM(framer, 1), record, PyTuple_GET_ITEM(framer, 0), NULL);
        if (value == NULL || (PyBytes_CheckExact(value) && PyBytes_GET_SIZE(value) <= largest))
            return value;
        Py_DECREF(value);
    }
    return PyObject_CallFunctionObjArgs(frame, topic, record, NULL);
}

/* How many records of each topic each input has caused. Told apart by identity first, so that few are looked up in the dict. */
typedef struct {
    PyObject *cause, *topic; /* owned */
    long n;
} Caused;

typedef struct {
    Caused at[TALLIES];
    int used;
} Tallied;

static int add_caused(PyObject *counts, Caused *caused) {
    PyObject *key = PyTuple_Pack(2, caused->cause, caused->topic);
    PyObject *last = key == NULL ? NULL : PyDict_GetItemWithError(counts, key);
    long before = last == NULL ? 0 : PyLong_AsLong(last);
    PyObject *n = PyErr_Occurred() ? NULL : PyLong_FromLong(before + caused->n);
    int ok = n != NULL && PyDict_SetItem(counts, key, n) == 0;
    Py_XDECREF(n);
    Py_XDECREF(key);
    return ok;
}

/* In the order in which they came. After an error (not ok) they are only let go of. */
static int tell_caused(Tallied *tallied, PyObject *counts, int ok) {
    for (int i = 0; i < tallied->used; i++) {
        ok = ok && add_caused(counts, &tallied->at[i]);
        Py_DECREF(tallied->at[i].cause);
        Py_DECREF(tallied->at[i].topic);
    }
    tallied->used = 0;
    return ok;
}

static int caused(Tallied *tallied, PyObject *counts, PyObject *cause, PyObject *topic) {
    for (int i = 0; i < tallied->used; i++)
        if (tallied->at[i].cause == cause && tallied->at[i].topic == topic) {
            tallied->at[i].n++;
            return 1;
        }
    if (tallied->used == TALLIES && !tell_caused(tallied, counts, 1))
        return 0;
    tallied->at[tallied->used++] = (Caused){Py_NewRef(cause), Py_NewRef(topic), 1};
    return 1;
}

/* One state record as it is written; the put keeps the encoded value too. */
static PyObject *written(PyObject *address, PyObject *put, PyObject *framers, PyObject *frame, PyObject *state_headers, PyObject *number,
                         PyObject *nothing, Py_ssize_t largest, const Layout *layout, PyObject *Write) {
    PyObject *topic = PyTuple_GET_ITEM(address, 0), *write = NULL, *key = NULL, *value = NULL, *heads = NULL;
    PyObject *record = put_field(layout, put, RECORD), *wake = put_field(layout, put, WAKE), *waits = put_field(layout, put, WAITS);
    PyObject *at = put_field(layout, put, AT);
    if (record == NULL || wake == NULL || waits == NULL || at == NULL)
        goto done;
    key = PyUnicode_AsUTF8String(PyTuple_GET_ITEM(address, 1));
    if (key == NULL)
        goto done;
    value = record == Py_None ? Py_NewRef(Py_None) : framed(framers, frame, topic, record, largest);
    if (value == NULL || !set_put_value(layout, put, value))
        goto done;
    heads = record == Py_None || (wake == Py_None && waits == Py_None) ? Py_NewRef(nothing)
                                                                       : PyObject_CallFunctionObjArgs(state_headers, wake, waits, NULL);
    if (heads == NULL)
        goto done;
    PyObject *items[] = {Py_NewRef(topic), Py_NewRef(key), Py_NewRef(value), Py_NewRef(number), Py_NewRef(heads), Py_NewRef(at), Py_NewRef(record)};
    write = named_tuple(Write, items, 7);
done:
    Py_XDECREF(record);
    Py_XDECREF(wake);
    Py_XDECREF(waits);
    Py_XDECREF(at);
    Py_XDECREF(key);
    Py_XDECREF(value);
    Py_XDECREF(heads);
    return write;
}

PyDoc_STRVAR(frames_doc, "frames(puts, framers, frame, state_headers, number, largest, Put, Write, out, counts)\n"
                         "Appends what is to be written to `out` and adds to `counts`: (cause, topic) -> how many.\n"
                         "`framers`: topic -> (head, encode); `frame` does what they do not.");

static PyObject *frames(PyObject *module, PyObject *args) {
    PyObject *puts, *framers, *frame, *state_headers, *number, *Put, *Write, *out, *counts, *address, *put, *nothing = PyTuple_New(0);
    Py_ssize_t largest;
    Tallied tallied = {.used = 0};
    Layout layout;
    if (nothing == NULL || !PyArg_ParseTuple(args, "O!O!OOOnOOO!O!", &PyDict_Type, &puts, &PyDict_Type, &framers, &frame, &state_headers, &number, &largest,
                                             &Put, &Write, &PyList_Type, &out, &PyDict_Type, &counts) ||
        !layout_of(Put, &layout)) {
        Py_XDECREF(nothing);
        return NULL;
    }
    int ok = 1;
    Walk walk = walk_through(puts, &layout);
    while (ok && next_put(&walk, &layout, &address, &put)) {
        PyObject *write = written(address, put, framers, frame, state_headers, number, nothing, largest, &layout, Write);
        PyObject *cause = write == NULL ? NULL : put_field(&layout, put, CAUSE);
        ok = cause != NULL && PyList_Append(out, write) == 0 && caused(&tallied, counts, cause, PyTuple_GET_ITEM(address, 0));
        Py_XDECREF(cause);
        Py_XDECREF(write);
    }
    Py_DECREF(nothing);
    if (!tell_caused(&tallied, counts, ok))
        return NULL;
    Py_RETURN_NONE;
}

/* --- outs */

typedef struct {
    /* given, borrowed */
    PyObject *routes, *route, *partition_for, *cloud_event, *framers, *frame, *nothing, *Out, *Write;
    Py_ssize_t largest;
} Way;

/* The topic's route: (fields of the key, which of them chooses the partition or -1, how many partitions, whether headers are wanted).
   Borrowed; Py_None when it has none that is usual. */
static PyObject *route_of(Way *way, PyObject *topic) {
    PyObject *route = PyDict_GetItemWithError(way->routes, topic);
    if (route != NULL || PyErr_Occurred())
        return route;
    PyObject *found = PyObject_CallOneArg(way->route, topic);
    if (found == NULL || PyDict_SetItem(way->routes, topic, found) < 0)
        route = NULL;
    else
        route = found; /* kept by the dict */
    Py_XDECREF(found);
    if (route != NULL && route != Py_None && (!PyTuple_CheckExact(route) || PyTuple_GET_SIZE(route) != 4 || !PyTuple_CheckExact(PyTuple_GET_ITEM(route, 0)))) {
        PyErr_SetString(PyExc_TypeError, "a route is (fields, chosen, partitions, headers wanted)");
        return NULL;
    }
    return route;
}

/* The parts of the record's key, when they stand in it as they are; Py_None when they do not. */
static PyObject *parts_of(PyObject *record, PyObject *fields) {
    Py_ssize_t n = PyTuple_GET_SIZE(fields);
    PyObject *parts = PyTuple_New(n);
    for (Py_ssize_t i = 0; parts != NULL && i < n; i++) {
        PyObject *part = PyObject_GetAttr(record, PyTuple_GET_ITEM(fields, i));
        if (part == NULL) {
            Py_DECREF(parts);
            if (!PyErr_ExceptionMatches(PyExc_AttributeError))
                return NULL;
            PyErr_Clear(); /* a record of another kind: Python says what is wrong */
            return Py_NewRef(Py_None);
        }
        PyTuple_SET_ITEM(parts, i, part);
        if (!PyUnicode_CheckExact(part) || PyUnicode_READY(part) < 0 || PyUnicode_FindChar(part, '%', 0, PyUnicode_GET_LENGTH(part), 1) != -1 ||
            PyUnicode_FindChar(part, '|', 0, PyUnicode_GET_LENGTH(part), 1) != -1) {
            Py_DECREF(parts);
            return PyErr_Occurred() ? NULL : Py_NewRef(Py_None);
        }
    }
    return parts;
}

/* One output as it is written; Py_None: unusual. */
static PyObject *out_of(Way *way, PyObject *said, PyObject *at) {
    PyObject *topic = PyObject_GetAttr(said, s_topic), *record = PyObject_GetAttr(said, s_record), *partition = PyObject_GetAttr(said, s_partition),
             *given = PyObject_GetAttr(said, s_key), *write = NULL, *parts = NULL, *key = NULL, *value = NULL, *heads = NULL, *place = NULL, *raw = NULL;
    if (topic == NULL || record == NULL || partition == NULL || given == NULL)
        goto done;
    PyObject *route = partition == Py_None && given == Py_None ? route_of(way, topic) : Py_None;
    if (route == NULL)
        goto done;
    parts = route == Py_None ? Py_NewRef(Py_None) : parts_of(record, PyTuple_GET_ITEM(route, 0));
    if (parts == NULL || parts == Py_None) {
        write = Py_XNewRef(parts);
        goto done;
    }
    Py_ssize_t chosen = PyLong_AsSsize_t(PyTuple_GET_ITEM(route, 1));
    if (chosen >= PyTuple_GET_SIZE(parts) || PyTuple_GET_SIZE(parts) == 0) {
        PyErr_SetString(PyExc_TypeError, "the part that chooses the partition is none of the key's");
        goto done;
    }
    key = PyTuple_GET_SIZE(parts) == 1 ? Py_NewRef(PyTuple_GET_ITEM(parts, 0)) : PyUnicode_Join(s_bar, parts);
    value = key == NULL ? NULL : framed(way->framers, way->frame, topic, record, way->largest);
    if (value == NULL)
        goto done;
    heads = PyTuple_GET_ITEM(route, 3) == Py_True ? PyObject_CallFunctionObjArgs(way->cloud_event, key, record, at, NULL) : Py_NewRef(way->nothing);
    PyObject *asked[] = {chosen < 0 ? key : PyTuple_GET_ITEM(parts, chosen), PyTuple_GET_ITEM(route, 2)};
    place = heads == NULL ? NULL : PyObject_Vectorcall(way->partition_for, asked, 2, NULL);
    raw = place == NULL ? NULL : PyUnicode_AsUTF8String(key);
    if (raw == NULL)
        goto done;
    PyObject *items[] = {Py_NewRef(topic), Py_NewRef(raw), Py_NewRef(value), Py_NewRef(place), Py_NewRef(heads), Py_NewRef(at), Py_NewRef(record)};
    write = named_tuple(way->Write, items, 7);
done:
    Py_XDECREF(topic);
    Py_XDECREF(record);
    Py_XDECREF(partition);
    Py_XDECREF(given);
    Py_XDECREF(parts);
    Py_XDECREF(key);
    Py_XDECREF(value);
    Py_XDECREF(heads);
    Py_XDECREF(place);
    Py_XDECREF(raw);
    return write;
}

PyDoc_STRVAR(outs_doc, "outs(pending, start, routes, route, partition_for, cloud_event, framers, frame, largest, Out, Write, out, counts)\n"
                       "-> index of the first of `pending` (output, cause, moment) from `start` on that is unusual. Those before it are appended to\n"
                       "`out` and counted as `frames` does. `routes` keeps what `route` says of a topic.");

static PyObject *outs(PyObject *module, PyObject *args) {
    PyObject *pending, *out, *counts;
    Py_ssize_t at;
    Way way = {NULL};
    Tallied tallied = {.used = 0};
    if (!PyArg_ParseTuple(args, "O!nO!OOOO!OnOOO!O!", &PyList_Type, &pending, &at, &PyDict_Type, &way.routes, &way.route, &way.partition_for, &way.cloud_event,
                          &PyDict_Type, &way.framers, &way.frame, &way.largest, &way.Out, &way.Write, &PyList_Type, &out, &PyDict_Type, &counts))
        return NULL;
    way.nothing = PyTuple_New(0);
    int ok = way.nothing != NULL, usual = 1;
    while (ok && at < PyList_GET_SIZE(pending)) {
        PyObject *item = PyList_GET_ITEM(pending, at);
        if (!PyTuple_CheckExact(item) || PyTuple_GET_SIZE(item) != 3)
            break;
        PyObject *said = PyTuple_GET_ITEM(item, 0), *write;
        if ((PyObject *)Py_TYPE(said) == way.Write)
            write = Py_NewRef(said); /* a dead letter is bytes already */
        else
            write = (PyObject *)Py_TYPE(said) == way.Out ? out_of(&way, said, PyTuple_GET_ITEM(item, 2)) : Py_NewRef(Py_None);
        usual = write != Py_None;
        ok = write != NULL && (!usual || (PyList_Append(out, write) == 0 && caused(&tallied, counts, PyTuple_GET_ITEM(item, 1), PyTuple_GET_ITEM(write, 0))));
        Py_XDECREF(write);
        if (!usual)
            break;
        at++;
    }
    Py_XDECREF(way.nothing);
    return tell_caused(&tallied, counts, ok) ? PyLong_FromSsize_t(at) : NULL;
}

/* --- merge */

typedef struct {
    PyObject *topic, *values, *aggregate, *members, *decoded, *wakes; /* owned; members: of each aggregate, NULL when nobody has asked for them */
} Kept;

typedef struct {
    /* given, borrowed */
    PyObject *shelves, *decoded, *wakes, *waits, *popped, *heap, *heappush, *twin, *groups;
    Layout layout;
    Kept kept[TALLIES];
    int used;
} Merge;

static void forget_kept(Merge *merge) {
    for (int i = 0; i < merge->used; i++) {
        Py_DECREF(merge->kept[i].topic);
        Py_XDECREF(merge->kept[i].values);
        Py_XDECREF(merge->kept[i].aggregate);
        Py_XDECREF(merge->kept[i].members);
        Py_XDECREF(merge->kept[i].decoded);
        Py_XDECREF(merge->kept[i].wakes);
    }
    merge->used = 0;
}

/* Where the topic's records are. */
static Kept *kept_of(Merge *merge, PyObject *topic) {
    for (int i = 0; i < merge->used; i++)
        if (merge->kept[i].topic == topic)
            return &merge->kept[i];
    if (merge->used == TALLIES)
        forget_kept(merge);
    Kept *kept = &merge->kept[merge->used++];
    *kept = (Kept){.topic = Py_NewRef(topic)};
    PyObject *shelf = PyDict_GetItemWithError(merge->shelves, topic);
    kept->values = shelf == NULL ? NULL : PyObject_GetAttr(shelf, s_values);
    kept->aggregate = kept->values == NULL ? NULL : PyObject_GetAttr(shelf, s_aggregate);
    PyObject *members = kept->aggregate == NULL ? NULL : PyObject_GetAttr(shelf, s_members);
    if (members != NULL && members != Py_None)
        kept->members = PyObject_GetAttr(members, s_groups);
    Py_XDECREF(members);
    kept->decoded = Py_XNewRef(PyDict_GetItemWithError(merge->decoded, topic));
    kept->wakes = Py_XNewRef(PyDict_GetItemWithError(merge->wakes, topic));
    if (!PyErr_Occurred() && members != NULL && kept->decoded != NULL && kept->wakes != NULL && PyDict_CheckExact(kept->values) &&
        PyDict_CheckExact(kept->decoded) && PyDict_CheckExact(kept->wakes) && (kept->members == NULL || PyDict_CheckExact(kept->members)))
        return kept;
    if (!PyErr_Occurred())
        PyErr_SetObject(PyExc_KeyError, topic);
    return NULL;
}

/* Where the member is in a sorted list, or would be; -1: an error. */
static Py_ssize_t place_in(PyObject *list, PyObject *member) {
    Py_ssize_t low = 0, high = PyList_GET_SIZE(list);
    while (low < high) {
        Py_ssize_t middle = (low + high) / 2;
        int less = PyObject_RichCompareBool(PyList_GET_ITEM(list, middle), member, Py_LT);
        if (less < 0)
            return -1;
        if (less)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* As Groups.add and Groups.remove (streams/store.py). 0: unusual, nothing has been changed; -1: an error. */
static int member_comes(PyObject *members, PyObject *group, PyObject *key) {
    PyObject *found = PyDict_GetItemWithError(members, group);
    if (found == NULL)
        return PyErr_Occurred() || PyDict_SetItem(members, group, key) < 0 ? -1 : 1;
    if (PyDict_CheckExact(found))
        return PyDict_SetItem(found, key, Py_None) < 0 ? -1 : 1;
    if (PyList_CheckExact(found)) {
        if (PyList_GET_SIZE(found) >= MANY)
            return 0;
        Py_ssize_t place = place_in(found, key);
        return place < 0 || PyList_Insert(found, place, key) < 0 ? -1 : 1;
    }
    int first = PyObject_RichCompareBool(found, key, Py_LT);
    PyObject *both = first < 0 ? NULL : first ? Py_BuildValue("[OO]", found, key) : Py_BuildValue("[OO]", key, found);
    int done = both != NULL && PyDict_SetItem(members, group, both) == 0 ? 1 : -1;
    Py_XDECREF(both);
    return done;
}

static int member_goes(PyObject *members, PyObject *group, PyObject *key) {
    PyObject *found = PyDict_GetItemWithError(members, group);
    if (found == NULL)
        return PyErr_Occurred() ? -1 : 0;
    if (PyDict_CheckExact(found)) {
        int there = PyDict_GET_SIZE(found) > 2 ? PyDict_Contains(found, key) : 0; /* the last but one goes in Python */
        return there < 1 ? there : PyDict_DelItem(found, key) == 0 ? 1 : -1;
    }
    if (!PyList_CheckExact(found))
        return PyDict_DelItem(members, group) == 0 ? 1 : -1;
    Py_ssize_t place = place_in(found, key);
    if (place < 0 || place >= PyList_GET_SIZE(found))
        return place < 0 ? -1 : 0;
    if (PyList_SetSlice(found, place, place + 1, NULL) < 0)
        return -1;
    return PyList_GET_SIZE(found) == 1 && PyDict_SetItem(members, group, PyList_GET_ITEM(found, 0)) < 0 ? -1 : 1;
}

/* The aggregate's keys are kept too: does this record come or go? */
static int group(Merge *merge, Kept *kept, PyObject *address, int comes) {
    PyObject *key = PyTuple_GET_ITEM(address, 1);
    int there = PyDict_Contains(kept->values, key);
    if (there < 0 || there == comes)
        return there < 0 ? -1 : 1;
    PyObject *of = Py_XNewRef(PyDict_GetItemWithError(merge->groups, address));
    if (of == NULL && !PyErr_Occurred())
        of = PyObject_CallFunctionObjArgs(kept->aggregate, PyTuple_GET_ITEM(address, 0), key, NULL);
    int done = of == NULL ? -1 : comes ? member_comes(kept->members, of, key) : member_goes(kept->members, of, key);
    Py_XDECREF(of);
    return done;
}

static int drop_item(PyObject *dict, PyObject *key) {
    int there = PyDict_GET_SIZE(dict) ? PyDict_Contains(dict, key) : 0;
    return there == 0 || (there == 1 && PyDict_DelItem(dict, key) == 0);
}

/* When the record is to be woken. */
static int keep_wake(Merge *merge, Kept *kept, PyObject *address, PyObject *wake) {
    PyObject *key = PyTuple_GET_ITEM(address, 1), *before = PyDict_GetItemWithError(kept->wakes, key);
    int moved = before == NULL ? 1 : PyObject_RichCompareBool(before, wake, Py_NE);
    if (PyErr_Occurred())
        return 0;
    if (moved == 0)
        moved = PySet_GET_SIZE(merge->popped) ? PySet_Contains(merge->popped, address) : 0;
    if (moved != 1)
        return moved == 0;
    if (PyDict_SetItem(kept->wakes, key, wake) < 0)
        return 0;
    PyObject *entry = PyTuple_Pack(3, wake, PyTuple_GET_ITEM(address, 0), key);
    PyObject *asked[] = {merge->heap, entry};
    PyObject *done = entry == NULL ? NULL : PyObject_Vectorcall(merge->heappush, asked, 2, NULL);
    int ok = done != NULL;
    Py_XDECREF(done);
    Py_XDECREF(entry);
    return ok;
}

/* 1: merged; 0: unusual, nothing has been changed; -1: an error */
static int merge_one(Merge *merge, Kept *kept, PyObject *address, PyObject *record, PyObject *wake, PyObject *waits, PyObject *value) {
    PyObject *key = PyTuple_GET_ITEM(address, 1);
    if (waits != Py_None)
        return 0;
    int waited = PyDict_GET_SIZE(merge->waits) ? PyDict_Contains(merge->waits, address) : 0;
    if (waited != 0)
        return waited < 0 ? -1 : 0;
    int grouped = kept->members == NULL ? 1 : group(merge, kept, address, value != Py_None);
    if (grouped != 1)
        return grouped;
    if (value == Py_None)
        return drop_item(kept->values, key) && drop_item(kept->decoded, key) && drop_item(kept->wakes, key) ? 1 : -1;
    Py_ssize_t before = PyDict_GET_SIZE(kept->values);
    if (PyDict_SetItem(kept->values, key, value) < 0)
        return -1;
    if (PyDict_GET_SIZE(kept->values) == before && PyDict_SetItem(kept->decoded, key, record) < 0) /* it is not new */
        return -1;
    return (wake == Py_None ? drop_item(kept->wakes, key) : keep_wake(merge, kept, address, wake)) ? 1 : -1;
}

static int merge_put(Merge *merge, PyObject *address, PyObject *put) {
    Kept *kept = kept_of(merge, PyTuple_GET_ITEM(address, 0));
    const Layout *layout = &merge->layout;
    PyObject *record = put_field(layout, put, RECORD), *wake = put_field(layout, put, WAKE), *waits = put_field(layout, put, WAITS),
             *value = put_field(layout, put, VALUE);
    int done = kept == NULL || record == NULL || wake == NULL || waits == NULL || value == NULL ? -1
                                                                                               : merge_one(merge, kept, address, record, wake, waits, value);
    Py_XDECREF(record);
    Py_XDECREF(wake);
    Py_XDECREF(waits);
    Py_XDECREF(value);
    if (done == 0) {
        PyObject *one = PyDict_New();
        PyObject *gone = one == NULL || PyDict_SetItem(one, address, put) < 0 ? NULL : PyObject_CallOneArg(merge->twin, one);
        done = gone == NULL ? -1 : 1;
        Py_XDECREF(gone);
        Py_XDECREF(one);
    }
    return done == 1;
}

PyDoc_STRVAR(merge_doc, "merge(puts, Put, shelves, decoded, wakes, waits, popped, heap, heappush, twin, groups)\n"
                        "`groups`: address -> aggregate, of those that are known. "
                        "What is unusual is given to `twin` alone, as {address: put}. The shelves are dicts, and nobody is told of wakes.");

static PyObject *merge(PyObject *module, PyObject *args) {
    PyObject *puts, *Put, *address, *put;
    Merge run = {NULL};
    if (!PyArg_ParseTuple(args, "O!OO!O!O!O!O!O!OOO!", &PyDict_Type, &puts, &Put, &PyDict_Type, &run.shelves, &PyDict_Type, &run.decoded, &PyDict_Type, &run.wakes,
                          &PyDict_Type, &run.waits, &PySet_Type, &run.popped, &PyList_Type, &run.heap, &run.heappush, &run.twin,
                          &PyDict_Type, &run.groups) ||
        !layout_of(Put, &run.layout))
        return NULL;
    int ok = 1;
    Walk walk = walk_through(puts, &run.layout);
    while (ok && next_put(&walk, &run.layout, &address, &put))
        ok = merge_put(&run, address, put);
    forget_kept(&run);
    if (!ok)
        return NULL;
    Py_RETURN_NONE;
}

/* --- View */

typedef struct {
    PyObject_HEAD
    PyObject *puts, *decoded, *values, *readers, *twin, *keys, *find, *decode, *memo;
    Py_ssize_t room; /* records that may still be decoded here */
} View;

static int view_traverse(View *view, visitproc visit, void *arg) {
    Py_VISIT(view->puts);
    Py_VISIT(view->decoded);
    Py_VISIT(view->values);
    Py_VISIT(view->readers);
    Py_VISIT(view->twin);
    Py_VISIT(view->keys);
    Py_VISIT(view->find);
    Py_VISIT(view->decode);
    Py_VISIT(view->memo);
    return 0;
}

static int view_clear(View *view) {
    Py_CLEAR(view->puts);
    Py_CLEAR(view->decoded);
    Py_CLEAR(view->values);
    Py_CLEAR(view->readers);
    Py_CLEAR(view->twin);
    Py_CLEAR(view->keys);
    Py_CLEAR(view->find);
    Py_CLEAR(view->decode);
    Py_CLEAR(view->memo);
    return 0;
}

static void view_dealloc(View *view) {
    PyObject_GC_UnTrack(view);
    view_clear(view);
    Py_TYPE(view)->tp_free((PyObject *)view);
}

static PyObject *view_new(PyTypeObject *type, PyObject *args, PyObject *names) {
    PyObject *puts, *decoded, *values, *readers, *get, *keys, *find, *decode, *memo;
    Py_ssize_t room;
    if (!PyArg_ParseTuple(args, "O!O!O!O!nOOOOO!", &PyDict_Type, &puts, &PyDict_Type, &decoded, &PyDict_Type, &values, &PyDict_Type, &readers, &room, &get,
                          &keys, &find, &decode, &PyDict_Type, &memo))
        return NULL;
    View *view = (View *)type->tp_alloc(type, 0);
    if (view == NULL)
        return NULL;
    view->puts = Py_NewRef(puts);
    view->decoded = Py_NewRef(decoded);
    view->values = Py_NewRef(values);
    view->readers = Py_NewRef(readers);
    view->room = room;
    view->twin = Py_NewRef(get);
    view->keys = Py_NewRef(keys);
    view->find = Py_NewRef(find);
    view->decode = Py_NewRef(decode);
    view->memo = Py_NewRef(memo);
    return (PyObject *)view;
}

/* A value of a state topic as a record, which is kept decoded; NULL: not the usual case, or an error. */
static PyObject *decoded_now(View *view, PyObject *topic, PyObject *key, PyObject *value, PyObject *kept) {
    PyObject *reader = view->room > 0 && PyBytes_CheckExact(value) ? PyDict_GetItemWithError(view->readers, topic) : NULL;
    if (reader == NULL || !PyTuple_CheckExact(reader) || PyTuple_GET_SIZE(reader) != 3 || !PyBytes_CheckExact(PyTuple_GET_ITEM(reader, 0)))
        return NULL;
    PyObject *head = PyTuple_GET_ITEM(reader, 0);
    Py_ssize_t size = PyBytes_GET_SIZE(head);
    if (PyBytes_GET_SIZE(value) < size || memcmp(PyBytes_AS_STRING(value), PyBytes_AS_STRING(head), size) != 0)
        return NULL;
    PyObject *start = PyLong_FromSsize_t(size);
    PyObject *args[] = {value, start}, *record = start == NULL ? NULL : PyObject_Vectorcall(PyTuple_GET_ITEM(reader, 1), args, 2, NULL);
    Py_XDECREF(start);
    if (record == Py_None || (record != NULL && PyDict_SetItem(kept, key, record) < 0))
        Py_CLEAR(record);
    view->room -= record != NULL;
    return record;
}

/* The record; NULL: the twin has to be asked, or an error. */
static PyObject *shown(View *view, PyObject *topic, PyObject *key) {
    if (PyDict_GET_SIZE(view->puts)) {
        PyObject *address = PyTuple_Pack(2, topic, key);
        PyObject *put = address == NULL ? NULL : PyDict_GetItemWithError(view->puts, address);
        Py_XDECREF(address);
        if (put != NULL || PyErr_Occurred())
            return put == NULL ? NULL : PyObject_GetAttr(put, s_record);
    }
    PyObject *decoded = PyDict_GetItemWithError(view->decoded, topic);
    if (decoded == NULL || !PyDict_CheckExact(decoded))
        return NULL;
    PyObject *record = PyDict_GetItemWithError(decoded, key);
    if (record != NULL || PyErr_Occurred())
        return record == Py_None ? NULL : Py_XNewRef(record);
    PyObject *values = PyDict_GetItemWithError(view->values, topic);
    if (values == NULL || !PyDict_CheckExact(values))
        return NULL;
    PyObject *value = PyDict_GetItemWithError(values, key);
    if (value != NULL)
        return decoded_now(view, topic, key, value, decoded);
    return PyErr_Occurred() ? NULL : Py_NewRef(Py_None);
}

static PyObject *view_get(View *view, PyObject *const *args, Py_ssize_t n, PyObject *names) {
    if (view->twin == NULL)
        Py_RETURN_NONE; /* taken apart by the collector: nobody asks any more */
    if (n == 2 && names == NULL && PyUnicode_CheckExact(args[0]) && PyUnicode_CheckExact(args[1])) {
        PyObject *record = shown(view, args[0], args[1]);
        if (record != NULL || PyErr_Occurred())
            return record;
    }
    return PyObject_Vectorcall(view->twin, args, n, names);
}

PyDoc_STRVAR(get_doc, "The state record, or None.");
PyDoc_STRVAR(view_doc, "View(puts, decoded, values, readers, room, get, keys, find, decode, memo): `get` is asked for what is unusual, and for every value\n"
                       "once `room` others have been decoded; the last four are handed on.");

static PyMethodDef view_methods[] = {{"get", (PyCFunction)(void (*)(void))view_get, METH_FASTCALL | METH_KEYWORDS, get_doc}, {NULL, NULL, 0, NULL}};

static PyMemberDef view_members[] = {{"keys", T_OBJECT_EX, offsetof(View, keys), READONLY, NULL},
                                     {"find", T_OBJECT_EX, offsetof(View, find), READONLY, NULL},
                                     {"decode", T_OBJECT_EX, offsetof(View, decode), READONLY, NULL},
                                     {"memo", T_OBJECT_EX, offsetof(View, memo), READONLY, NULL},
                                     {NULL}};

static PyTypeObject ViewType = {PyVarObject_HEAD_INIT(NULL, 0).tp_name = "streams._quick.View",
                                .tp_basicsize = sizeof(View),
                                .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC,
                                .tp_doc = view_doc,
                                .tp_new = view_new,
                                .tp_dealloc = (destructor)view_dealloc,
                                .tp_traverse = (traverseproc)view_traverse,
                                .tp_clear = (inquiry)view_clear,
                                .tp_methods = view_methods,
                                .tp_members = view_members};

/* --- rows */

static PyObject *m_topic, *m_partition, *m_offset, *m_key, *m_value, *m_headers, *m_timestamp, *m_error;

static struct {
    PyObject **at;
    const char *text;
} METHODS[] = {{&m_topic, "topic"}, {&m_partition, "partition"}, {&m_offset, "offset"},       {&m_key, "key"},
               {&m_value, "value"}, {&m_headers, "headers"},     {&m_timestamp, "timestamp"}, {&m_error, "error"}};

static PyObject *row(PyObject *message, PyObject *Record) {
    PyObject *items[7] = {NULL};
    PyObject *names[] = {m_topic, m_partition, m_offset, m_key, m_value, m_headers, m_timestamp};
    for (int i = 0; i < 7; i++) {
        PyObject *item = PyObject_CallMethodNoArgs(message, names[i]);
        if (item != NULL && i == 5 && item == Py_None) {
            Py_DECREF(item);
            item = PyTuple_New(0);
        } else if (item != NULL && i == 6) {
            PyObject *at = PyTuple_Check(item) && PyTuple_GET_SIZE(item) == 2 ? Py_NewRef(PyTuple_GET_ITEM(item, 1)) : NULL;
            Py_DECREF(item);
            item = at;
        }
        if (item == NULL) {
            while (i-- > 0)
                Py_DECREF(items[i]);
            if (!PyErr_Occurred())
                PyErr_SetString(PyExc_TypeError, "a message has a type and a moment as its timestamp");
            return NULL;
        }
        items[i] = item;
    }
    return named_tuple(Record, items, 7);
}

/* Where the partition of this record is read next. */
static int follow(PyObject *record, PyObject *next, PyObject *at_end) {
    PyObject *place = PyTuple_Pack(2, PyTuple_GET_ITEM(record, 0), PyTuple_GET_ITEM(record, 1));
    long long offset = PyLong_AsLongLong(PyTuple_GET_ITEM(record, 2));
    PyObject *after = place == NULL || PyErr_Occurred() ? NULL : PyLong_FromLongLong(offset + 1);
    int ok = after != NULL && PyDict_SetItem(next, place, after) == 0 && PySet_Discard(at_end, place) >= 0;
    Py_XDECREF(after);
    Py_XDECREF(place);
    return ok;
}

/* 1 when both lie in one partition, whose name they then share; 0 when not; -1 on an error. */
static int same_place(PyObject *record, PyObject *last) {
    int same = PyObject_RichCompareBool(PyTuple_GET_ITEM(record, 1), PyTuple_GET_ITEM(last, 1), Py_EQ);
    if (same == 1)
        same = PyObject_RichCompareBool(PyTuple_GET_ITEM(record, 0), PyTuple_GET_ITEM(last, 0), Py_EQ);
    if (same == 1) {
        PyObject *own = PyTuple_GET_ITEM(record, 0);
        PyTuple_SET_ITEM(record, 0, Py_NewRef(PyTuple_GET_ITEM(last, 0)));
        Py_DECREF(own);
    }
    return same;
}

PyDoc_STRVAR(rows_doc, "rows(messages, start, Record, next, at_end, out) -> index of the first message from `start` on that is an error\n"
                       "The others are appended to `out`; `next` and `at_end` follow them.");

static PyObject *rows(PyObject *module, PyObject *args) {
    PyObject *messages, *Record, *next, *at_end, *out, *last = NULL; /* last: borrowed from out */
    Py_ssize_t at;
    if (!PyArg_ParseTuple(args, "O!nOO!O!O!", &PyList_Type, &messages, &at, &Record, &PyDict_Type, &next, &PySet_Type, &at_end, &PyList_Type, &out))
        return NULL;
    int ok = 1;
    for (; ok && at < PyList_GET_SIZE(messages); at++) {
        PyObject *message = PyList_GET_ITEM(messages, at), *error = PyObject_CallMethodNoArgs(message, m_error);
        int fine = error == Py_None;
        Py_XDECREF(error);
        if (!fine) {
            ok = error != NULL;
            break;
        }
        PyObject *record = row(message, Record);
        int same = record == NULL ? -1 : last == NULL ? 1 : same_place(record, last);
        ok = same >= 0 && (same || follow(last, next, at_end)) && PyList_Append(out, record) == 0;
        last = record;
        Py_XDECREF(record);
    }
    ok = ok && (last == NULL || follow(last, next, at_end));
    return ok ? PyLong_FromSsize_t(at) : NULL;
}

/* --- runs */

PyDoc_STRVAR(runs_doc, "runs(records) -> [(topic, partition, start, end)]: neighbours that lie in one partition.");

static PyObject *runs(PyObject *module, PyObject *records) {
    if (!PyList_CheckExact(records)) {
        PyErr_SetString(PyExc_TypeError, "runs(records: list)");
        return NULL;
    }
    PyObject *out = PyList_New(0);
    Py_ssize_t start = 0, n = PyList_GET_SIZE(records);
    for (Py_ssize_t at = 1; out != NULL && at <= n; at++) {
        PyObject *first = PyList_GET_ITEM(records, start);
        int same = 0;
        for (int i = 0; i < 2; i++)
            if (at < n && (i == 0 || same == 1)) {
                PyObject *here = PyTuple_GET_ITEM(PyList_GET_ITEM(records, at), i), *there = PyTuple_GET_ITEM(first, i);
                same = here == there ? 1 : PyObject_RichCompareBool(here, there, Py_EQ);
            }
        if (same == 1)
            continue;
        PyObject *run = same < 0 ? NULL : Py_BuildValue("OOnn", PyTuple_GET_ITEM(first, 0), PyTuple_GET_ITEM(first, 1), start, at);
        if (run == NULL || PyList_Append(out, run) < 0)
            Py_CLEAR(out);
        Py_XDECREF(run);
        start = at;
    }
    return out;
}

/* --- send */

PyDoc_STRVAR(send_doc, "send(writes, start, produce) -> index of the first write from `start` on that the client did not take, with what it raised.\n"
                       "The answer is (index, None) when it took all.");

static PyObject *send(PyObject *module, PyObject *args) {
    PyObject *writes, *produce, *zero = PyLong_FromLong(0), *raised = Py_NewRef(Py_None);
    Py_ssize_t at;
    if (zero == NULL || !PyArg_ParseTuple(args, "O!nO", &PyList_Type, &writes, &at, &produce)) {
        Py_XDECREF(zero);
        Py_DECREF(raised);
        return NULL;
    }
    for (; raised == Py_None && at < PyList_GET_SIZE(writes); at++) {
        PyObject *write = PyList_GET_ITEM(writes, at), *heads = PyTuple_GET_ITEM(write, 4), *moment = PyTuple_GET_ITEM(write, 5);
        PyObject *list = PyObject_IsTrue(heads) == 1 ? PySequence_List(heads) : Py_NewRef(Py_None);
        PyObject *all[] = {PyTuple_GET_ITEM(write, 0), PyTuple_GET_ITEM(write, 2), PyTuple_GET_ITEM(write, 1), PyTuple_GET_ITEM(write, 3), Py_None, Py_None,
                           moment == Py_None ? zero : moment, list};
        PyObject *done = list == NULL ? NULL : PyObject_Vectorcall(produce, all, 8, NULL);
        Py_XDECREF(list);
        if (done == NULL) {
            PyObject *type, *value, *trace;
            PyErr_Fetch(&type, &value, &trace);
            PyErr_NormalizeException(&type, &value, &trace);
            Py_XDECREF(type);
            Py_XDECREF(trace);
            Py_SETREF(raised, value);
            at--;
        }
        Py_XDECREF(done);
    }
    Py_DECREF(zero);
    return Py_BuildValue("nN", at, raised);
}

static PyMethodDef functions[] = {{"runs", runs, METH_O, runs_doc},
                                  {"send", send, METH_VARARGS, send_doc},
                                  {"take", take, METH_VARARGS, take_doc},
                                  {"outs", outs, METH_VARARGS, outs_doc},
                                  {"frames", frames, METH_VARARGS, frames_doc},
                                  {"merge", merge, METH_VARARGS, merge_doc},
                                  {"rows", rows, METH_VARARGS, rows_doc},
                                  {NULL, NULL, 0, NULL}};

static struct PyModuleDef definition = {PyModuleDef_HEAD_INIT, .m_name = "streams._quick", .m_size = -1, .m_methods = functions};

PyMODINIT_FUNC PyInit__quick(void) {
    for (size_t i = 0; i < sizeof(NAMES) / sizeof(NAMES[0]); i++)
        if ((*NAMES[i].at = PyUnicode_InternFromString(NAMES[i].text)) == NULL)
            return NULL;
    for (size_t i = 0; i < sizeof(METHODS) / sizeof(METHODS[0]); i++)
        if ((*METHODS[i].at = PyUnicode_InternFromString(METHODS[i].text)) == NULL)
            return NULL;
    PyObject *module = PyType_Ready(&ViewType) < 0 ? NULL : PyModule_Create(&definition);
    if (module != NULL && PyModule_AddObjectRef(module, "View", (PyObject *)&ViewType) < 0)
        Py_CLEAR(module);
    return module;
}
