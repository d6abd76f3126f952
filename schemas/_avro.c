/* The hot half of the codec: what schemas/codegen.py writes in Python for each record, here for all of them.

   It knows the usual case only. Anything else (a number that does not fit, text that is not UTF-8, bytes too few or too
   many, a value of another type) is answered with None, and the Python twin decides it: it alone knows every rule and every
   error. So both can only agree or the twin is asked. tests/unit/schemas compares them on random records and random bytes. */

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stdint.h>
#include <string.h>
#include <structmember.h>

enum kind { STRING, BYTES, INT, LONG, TIMESTAMP, BOOLEAN, DECIMAL, ENUM, RECORD, OPTIONAL, ARRAY, MAP, KINDS };

static const char *KIND_NAMES[KINDS] = {"string", "bytes",  "int",    "long",     "timestamp", "boolean",
                                        "decimal", "enum", "record", "optional", "array",     "map"};

static const int64_t TIME_MIN = -62135596800000LL; /* 0001-01-01, as in schemas/wire.py */
static const int64_t TIME_MAX = 253402300799999LL; /* 9999-12-31 */

typedef struct codec Codec;

#define TEXTS 16
#define PATIENCE 4096

typedef struct node {
    enum kind kind;
    struct node *inner; /* optional, array, map */
    PyObject *one;      /* enum: tuple of symbols; decimal: bytes -> Decimal; record: its Codec */
    PyObject *other;    /* enum: dict of symbol -> number; decimal: Decimal -> bytes */
    PyObject **texts;   /* string: the last ones that were read; a place or a channel is one of few, and need not be made anew each time */
    int patience;       /* string: what is left of it; a field that has mostly new ones is not worth a look */
} Node;

struct codec {
    PyObject_HEAD
    PyObject *cls;
    PyObject *names; /* tuple of field names, in the order of the schema */
    Node **types;
    Py_ssize_t *offsets; /* where a field lies in the object; -1: ask for the attribute */
    Py_ssize_t n;
    int plain; /* an object is its fields and nothing else: it can be filled without its constructor */
};

static PyTypeObject CodecType;

/* --- the schema, told as nested tuples: (kind, ...) */

static void free_node(Node *node) {
    if (node == NULL)
        return;
    free_node(node->inner);
    for (int i = 0; node->texts != NULL && i < TEXTS; i++)
        Py_XDECREF(node->texts[i]);
    PyMem_Free(node->texts);
    Py_XDECREF(node->one);
    Py_XDECREF(node->other);
    PyMem_Free(node);
}

static Node *read_node(PyObject *told) {
    if (!PyTuple_Check(told) || PyTuple_GET_SIZE(told) < 1 || !PyUnicode_Check(PyTuple_GET_ITEM(told, 0))) {
        PyErr_SetString(PyExc_TypeError, "a type is a tuple that begins with its kind");
        return NULL;
    }
    Node *node = PyMem_Calloc(1, sizeof(Node));
    if (node == NULL) {
        PyErr_NoMemory();
        return NULL;
    }
    int kind = 0;
    while (kind < KINDS && PyUnicode_CompareWithASCIIString(PyTuple_GET_ITEM(told, 0), KIND_NAMES[kind]) != 0)
        kind++;
    node->kind = (enum kind)kind;
    Py_ssize_t needed = kind == ENUM || kind == DECIMAL ? 3 : kind >= RECORD ? 2 : 1;
    if (kind == KINDS || PyTuple_GET_SIZE(told) != needed) {
        PyErr_Format(PyExc_ValueError, "no such type: %R", told);
        free_node(node);
        return NULL;
    }
    if ((kind == OPTIONAL || kind == ARRAY || kind == MAP) && (node->inner = read_node(PyTuple_GET_ITEM(told, 1))) == NULL) {
        free_node(node);
        return NULL;
    }
    if (needed > 1)
        node->one = Py_NewRef(PyTuple_GET_ITEM(told, 1));
    if (needed > 2)
        node->other = Py_NewRef(PyTuple_GET_ITEM(told, 2));
    if ((kind == ENUM && !(PyTuple_Check(node->one) && PyTuple_GET_SIZE(node->one) <= 64 && PyDict_Check(node->other))) ||
        (kind == RECORD && !Py_IS_TYPE(node->one, &CodecType))) {
        PyErr_Format(PyExc_TypeError, "no such type: %R", told);
        free_node(node);
        return NULL;
    }
    if (kind == STRING || kind == MAP) {
        node->texts = PyMem_Calloc(TEXTS, sizeof(PyObject *));
        node->patience = PATIENCE;
        if (node->texts == NULL) {
            free_node(node);
            PyErr_NoMemory();
            return NULL;
        }
    }
    return node;
}

/* --- reading. NULL without an error set: not the usual case */

typedef struct {
    const uint8_t *at, *end;
} Source;

static int read_varint(Source *in, uint64_t *out) {
    uint64_t x = 0;
    for (int shift = 0; shift < 63; shift += 7) {
        if (in->at >= in->end)
            return 0;
        uint8_t byte = *in->at++;
        x |= (uint64_t)(byte & 127) << shift;
        if (byte < 128) {
            *out = x;
            return 1;
        }
    }
    return 0; /* ten bytes: rare enough to be the twin's */
}

static int read_size(Source *in, Py_ssize_t *out) {
    uint64_t x;
    if (!read_varint(in, &x) || x & 1)
        return 0;
    x >>= 1;
    if (x > (uint64_t)(in->end - in->at)) /* every item takes a byte at least */
        return 0;
    *out = (Py_ssize_t)x;
    return 1;
}

static PyObject *read_record(Codec *codec, Source *in);

static PyObject *read_text(Node *node, Source *in) {
    Py_ssize_t size;
    if (!read_size(in, &size))
        return NULL;
    const uint8_t *text = in->at;
    in->at += size;
    if (node->patience <= 0 || size == 0)
        return PyUnicode_DecodeUTF8((const char *)text, size, NULL);
    PyObject **kept = &node->texts[(size * 5 + text[0] + text[size / 2] * 3 + text[size - 1] * 7) % TEXTS], *found = *kept;
    if (found != NULL && PyUnicode_GET_LENGTH(found) == size && memcmp(PyUnicode_DATA(found), text, size) == 0) {
        node->patience += node->patience < PATIENCE;
        return Py_NewRef(found);
    }
    node->patience--;
    found = PyUnicode_DecodeUTF8((const char *)text, size, NULL);
    if (found != NULL && PyUnicode_IS_ASCII(found))
        Py_XSETREF(*kept, Py_NewRef(found));
    return found;
}

static PyObject *read_value(Node *node, Source *in);

/* One block and then the end, as everybody writes them; more blocks are the twin's. */
static PyObject *read_array(Node *node, Source *in) {
    Py_ssize_t size;
    if (!read_size(in, &size))
        return NULL;
    PyObject *items = PyTuple_New(size);
    for (Py_ssize_t i = 0; items != NULL && i < size; i++) {
        PyObject *item = read_value(node->inner, in);
        if (item == NULL)
            Py_CLEAR(items);
        else
            PyTuple_SET_ITEM(items, i, item);
    }
    if (size > 0 && items != NULL && (in->at >= in->end || *in->at++ != 0))
        Py_CLEAR(items);
    return items;
}

static PyObject *read_map(Node *node, Source *in) {
    PyObject *items = PyDict_New();
    Py_ssize_t left;
    if (items == NULL)
        return NULL;
    while (read_size(in, &left)) {
        if (left == 0)
            return items;
        for (; left > 0; left--) {
            PyObject *key = read_text(node, in);
            PyObject *item = key == NULL ? NULL : read_value(node->inner, in);
            int bad = item == NULL || PyDict_SetItem(items, key, item) < 0;
            Py_XDECREF(key);
            Py_XDECREF(item);
            if (bad) {
                Py_DECREF(items);
                return NULL;
            }
        }
    }
    Py_DECREF(items);
    return NULL;
}

static PyObject *read_number(enum kind kind, Source *in) {
    uint64_t x;
    if (!read_varint(in, &x) || (kind == INT && x >> 32))
        return NULL;
    int64_t value = (int64_t)(x >> 1) ^ -(int64_t)(x & 1);
    if (kind == TIMESTAMP && (value < TIME_MIN || value > TIME_MAX))
        return NULL;
    return PyLong_FromLongLong(value);
}

static PyObject *read_bytes(Source *in) {
    Py_ssize_t size;
    if (!read_size(in, &size))
        return NULL;
    const char *bytes = (const char *)in->at;
    in->at += size;
    return PyBytes_FromStringAndSize(bytes, size);
}

static PyObject *read_value(Node *node, Source *in) {
    PyObject *unscaled, *value;
    uint8_t byte;
    switch (node->kind) {
    case STRING:
        return read_text(node, in);
    case BYTES:
        return read_bytes(in);
    case INT:
    case LONG:
    case TIMESTAMP:
        return read_number(node->kind, in);
    case DECIMAL:
        unscaled = read_bytes(in);
        if (unscaled == NULL)
            return NULL;
        value = PyObject_CallOneArg(node->one, unscaled);
        Py_DECREF(unscaled);
        return value;
    case RECORD:
        return read_record((Codec *)node->one, in);
    case ARRAY:
        return read_array(node, in);
    case MAP:
        return read_map(node, in);
    case BOOLEAN:
    case ENUM:
    case OPTIONAL:
        if (in->at >= in->end)
            return NULL;
        byte = *in->at++;
        if (node->kind == BOOLEAN)
            return byte > 1 ? NULL : Py_NewRef(byte ? Py_True : Py_False);
        if (node->kind == ENUM)
            return byte & 1 || byte >> 1 >= PyTuple_GET_SIZE(node->one) ? NULL : Py_NewRef(PyTuple_GET_ITEM(node->one, byte >> 1));
        return byte == 2 ? read_value(node->inner, in) : byte ? NULL : Py_NewRef(Py_None);
    default:
        return NULL;
    }
}

#define FEW 32

static PyObject *read_record(Codec *codec, Source *in) {
    PyObject *few[FEW], **values = few, *record = NULL;
    Py_ssize_t done = 0;
    if (codec->n > FEW && (values = PyMem_Malloc(codec->n * sizeof(PyObject *))) == NULL)
        return PyErr_NoMemory();
    while (done < codec->n && (values[done] = read_value(codec->types[done], in)) != NULL)
        done++;
    if (done == codec->n && codec->plain) {
        PyTypeObject *type = (PyTypeObject *)codec->cls;
        record = type->tp_alloc(type, 0);
        for (Py_ssize_t i = 0; record != NULL && i < done; i++)
            *(PyObject **)((char *)record + codec->offsets[i]) = Py_NewRef(values[i]);
    } else if (done == codec->n)
        record = PyObject_Vectorcall(codec->cls, values, 0, codec->names);
    while (done > 0)
        Py_DECREF(values[--done]);
    if (values != few)
        PyMem_Free(values);
    return record;
}

/* --- writing. 0: not the usual case, or an error is set */

typedef struct {
    uint8_t *bytes;
    size_t size, room;
    uint8_t few[1024];
} Sink;

static int make_room(Sink *out, size_t more) {
    if (out->size + more <= out->room)
        return 1;
    size_t room = (out->size + more) * 2;
    uint8_t *bytes = out->bytes == out->few ? PyMem_Malloc(room) : PyMem_Realloc(out->bytes, room);
    if (bytes == NULL) {
        PyErr_NoMemory();
        return 0;
    }
    if (out->bytes == out->few)
        memcpy(bytes, out->few, out->size);
    out->bytes = bytes;
    out->room = room;
    return 1;
}

static int write_long(Sink *out, int64_t value) {
    uint64_t x = ((uint64_t)value << 1) ^ (uint64_t)(value >> 63);
    if (!make_room(out, 10))
        return 0;
    while (x > 127) {
        out->bytes[out->size++] = (uint8_t)(x & 127) | 128;
        x >>= 7;
    }
    out->bytes[out->size++] = (uint8_t)x;
    return 1;
}

static int write_byte(Sink *out, uint8_t byte) {
    if (!make_room(out, 1))
        return 0;
    out->bytes[out->size++] = byte;
    return 1;
}

static int write_sized(Sink *out, const char *bytes, Py_ssize_t size) {
    if (!write_long(out, size) || !make_room(out, size))
        return 0;
    memcpy(out->bytes + out->size, bytes, size);
    out->size += size;
    return 1;
}

static int write_text(Sink *out, PyObject *value) {
    Py_ssize_t size;
    const char *text;
    return PyUnicode_CheckExact(value) && (text = PyUnicode_AsUTF8AndSize(value, &size)) != NULL && write_sized(out, text, size);
}

static int write_number(enum kind kind, Sink *out, PyObject *value) {
    int overflow;
    if (!PyLong_CheckExact(value))
        return 0;
    int64_t number = PyLong_AsLongLongAndOverflow(value, &overflow);
    if (overflow || (kind == INT && (number < INT32_MIN || number > INT32_MAX)) ||
        (kind == TIMESTAMP && (number < TIME_MIN || number > TIME_MAX)))
        return 0;
    return write_long(out, number);
}

static int write_record(Codec *codec, Sink *out, PyObject *record);
static int write_value(const Node *node, Sink *out, PyObject *value);

static int write_array(const Node *node, Sink *out, PyObject *value) {
    if (!PyTuple_CheckExact(value))
        return 0;
    Py_ssize_t n = PyTuple_GET_SIZE(value);
    if (n && !write_long(out, n))
        return 0;
    for (Py_ssize_t i = 0; i < n; i++)
        if (!write_value(node->inner, out, PyTuple_GET_ITEM(value, i)))
            return 0;
    return write_byte(out, 0);
}

static int write_map(const Node *node, Sink *out, PyObject *value) {
    PyObject *key, *item;
    Py_ssize_t at = 0;
    if (!PyDict_CheckExact(value))
        return 0;
    if (PyDict_GET_SIZE(value) && !write_long(out, PyDict_GET_SIZE(value)))
        return 0;
    while (PyDict_Next(value, &at, &key, &item))
        if (!write_text(out, key) || !write_value(node->inner, out, item))
            return 0;
    return write_byte(out, 0);
}

static int write_decimal(const Node *node, Sink *out, PyObject *value) {
    PyObject *unscaled = PyObject_CallOneArg(node->other, value);
    if (unscaled == NULL)
        return 0;
    int ok = PyBytes_CheckExact(unscaled) && write_sized(out, PyBytes_AS_STRING(unscaled), PyBytes_GET_SIZE(unscaled));
    Py_DECREF(unscaled);
    return ok;
}

static int write_value(const Node *node, Sink *out, PyObject *value) {
    PyObject *number;
    switch (node->kind) {
    case STRING:
        return write_text(out, value);
    case BYTES:
        return PyBytes_CheckExact(value) && write_sized(out, PyBytes_AS_STRING(value), PyBytes_GET_SIZE(value));
    case INT:
    case LONG:
    case TIMESTAMP:
        return write_number(node->kind, out, value);
    case BOOLEAN:
        return (value == Py_True || value == Py_False) && write_byte(out, value == Py_True);
    case DECIMAL:
        return write_decimal(node, out, value);
    case ENUM:
        number = PyUnicode_CheckExact(value) ? PyDict_GetItemWithError(node->other, value) : NULL;
        return number != NULL && write_long(out, PyLong_AsLong(number));
    case RECORD:
        return write_record((Codec *)node->one, out, value);
    case OPTIONAL:
        return value == Py_None ? write_byte(out, 0) : write_byte(out, 2) && write_value(node->inner, out, value);
    case ARRAY:
        return write_array(node, out, value);
    case MAP:
        return write_map(node, out, value);
    default:
        return 0;
    }
}

static int write_record(Codec *codec, Sink *out, PyObject *record) {
    if ((PyObject *)Py_TYPE(record) != codec->cls)
        return 0;
    for (Py_ssize_t i = 0; i < codec->n; i++) {
        PyObject *value = NULL;
        if (codec->offsets[i] >= 0)
            value = Py_XNewRef(*(PyObject **)((char *)record + codec->offsets[i]));
        if (value == NULL && (value = PyObject_GetAttr(record, PyTuple_GET_ITEM(codec->names, i))) == NULL)
            return 0;
        int ok = write_value(codec->types[i], out, value);
        Py_DECREF(value);
        if (!ok)
            return 0;
    }
    return 1;
}

/* --- the Python side */

/* Not the usual case: None, unless something happened that no twin can do better. */
static PyObject *ask_the_twin(void) {
    if (PyErr_Occurred()) {
        if (!PyErr_ExceptionMatches(PyExc_Exception) || PyErr_ExceptionMatches(PyExc_MemoryError))
            return NULL;
        PyErr_Clear();
    }
    Py_RETURN_NONE;
}

static PyObject *codec_decode(Codec *self, PyObject *const *args, Py_ssize_t n) {
    if (n != 2 || !PyBytes_Check(args[0])) {
        PyErr_SetString(PyExc_TypeError, "decode(data: bytes, start: int)");
        return NULL;
    }
    Py_ssize_t start = PyLong_AsSsize_t(args[1]), size = PyBytes_GET_SIZE(args[0]);
    if (start == -1 && PyErr_Occurred())
        return NULL;
    if (start < 0 || start > size)
        Py_RETURN_NONE;
    const uint8_t *bytes = (const uint8_t *)PyBytes_AS_STRING(args[0]);
    Source in = {bytes + start, bytes + size};
    PyObject *record = read_record(self, &in);
    if (record == NULL)
        return ask_the_twin();
    if (in.at != in.end) {
        Py_DECREF(record);
        Py_RETURN_NONE;
    }
    return record;
}

static PyObject *codec_encode(Codec *self, PyObject *const *args, Py_ssize_t n) {
    if (n != 2 || !PyBytes_Check(args[1])) {
        PyErr_SetString(PyExc_TypeError, "encode(record, head: bytes)");
        return NULL;
    }
    Sink out;
    out.bytes = out.few;
    out.room = sizeof(out.few);
    out.size = 0;
    PyObject *whole = NULL;
    if (make_room(&out, PyBytes_GET_SIZE(args[1]))) {
        memcpy(out.bytes, PyBytes_AS_STRING(args[1]), PyBytes_GET_SIZE(args[1]));
        out.size = PyBytes_GET_SIZE(args[1]);
        if (write_record(self, &out, args[0]))
            whole = PyBytes_FromStringAndSize((char *)out.bytes, out.size);
    }
    if (out.bytes != out.few)
        PyMem_Free(out.bytes);
    return whole == NULL ? ask_the_twin() : whole;
}

static void find_offsets(Codec *self) {
    for (Py_ssize_t i = 0; i < self->n; i++) {
        PyObject *member = PyObject_GetAttr(self->cls, PyTuple_GET_ITEM(self->names, i));
        self->offsets[i] = -1;
        if (member == NULL)
            PyErr_Clear();
        else if (Py_IS_TYPE(member, &PyMemberDescr_Type) && ((PyMemberDescrObject *)member)->d_member->type == T_OBJECT_EX)
            self->offsets[i] = ((PyMemberDescrObject *)member)->d_member->offset;
        Py_XDECREF(member);
    }
    /* All fields are plain slots, they are all there is, nothing runs after the constructor, the collector does not look at it. */
    PyTypeObject *type = (PyTypeObject *)self->cls;
    self->plain = !PyType_IS_GC(type) && type->tp_basicsize == (Py_ssize_t)(sizeof(PyObject) + self->n * sizeof(PyObject *)) &&
                  type->tp_itemsize == 0 && !PyObject_HasAttrString(self->cls, "__post_init__");
    for (Py_ssize_t i = 0; i < self->n; i++)
        self->plain = self->plain && self->offsets[i] >= (Py_ssize_t)sizeof(PyObject);
}

static int codec_init(Codec *self, PyObject *args, PyObject *kwargs) {
    PyObject *cls, *names, *types;
    static char *words[] = {"cls", "names", "types", NULL};
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O!O!O!", words, &PyType_Type, &cls, &PyTuple_Type, &names, &PyTuple_Type, &types))
        return -1;
    if (self->cls != NULL || PyTuple_GET_SIZE(names) != PyTuple_GET_SIZE(types)) {
        PyErr_SetString(PyExc_ValueError, "made once, of as many names as types");
        return -1;
    }
    Py_ssize_t n = PyTuple_GET_SIZE(names);
    self->cls = Py_NewRef(cls);
    self->names = Py_NewRef(names);
    self->types = PyMem_Calloc(n ? n : 1, sizeof(Node *));
    self->offsets = PyMem_Calloc(n ? n : 1, sizeof(Py_ssize_t));
    if (self->types == NULL || self->offsets == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    for (; self->n < n; self->n++)
        if ((self->types[self->n] = read_node(PyTuple_GET_ITEM(types, self->n))) == NULL)
            return -1;
    find_offsets(self);
    return 0;
}

static void codec_dealloc(Codec *self) {
    for (Py_ssize_t i = 0; i < self->n; i++)
        free_node(self->types[i]);
    PyMem_Free(self->types);
    PyMem_Free(self->offsets);
    Py_XDECREF(self->cls);
    Py_XDECREF(self->names);
    Py_TYPE(self)->tp_free((PyObject *)self);
}

static PyMethodDef codec_methods[] = {
    {"decode", (PyCFunction)(void (*)(void))codec_decode, METH_FASTCALL, "decode(data, start): the record whose body is data[start:], or None."},
    {"encode", (PyCFunction)(void (*)(void))codec_encode, METH_FASTCALL, "encode(record, head): head and the record's body, or None."},
    {NULL, NULL, 0, NULL},
};

static PyTypeObject CodecType = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "schemas._avro.Codec",
    .tp_basicsize = sizeof(Codec),
    .tp_flags = Py_TPFLAGS_DEFAULT,
    .tp_doc = "Codec(cls, names, types): one record's fields and their types, as nested tuples.",
    .tp_new = PyType_GenericNew,
    .tp_init = (initproc)codec_init,
    .tp_dealloc = (destructor)codec_dealloc,
    .tp_methods = codec_methods,
};

static PyObject *murmur2(PyObject *module, PyObject *data) {
    if (!PyBytes_Check(data)) {
        PyErr_SetString(PyExc_TypeError, "murmur2(data: bytes)");
        return NULL;
    }
    const uint8_t *bytes = (const uint8_t *)PyBytes_AS_STRING(data);
    Py_ssize_t size = PyBytes_GET_SIZE(data);
    const uint32_t m = 0x5BD1E995;
    uint32_t h = 0x9747B28C ^ (uint32_t)size;
    for (; size >= 4; bytes += 4, size -= 4) {
        uint32_t k = (bytes[0] | (uint32_t)bytes[1] << 8 | (uint32_t)bytes[2] << 16 | (uint32_t)bytes[3] << 24) * m;
        h = (h * m) ^ ((k ^ (k >> 24)) * m);
    }
    uint32_t rest = 0;
    for (Py_ssize_t i = 0; i < size; i++)
        rest |= (uint32_t)bytes[i] << (8 * i);
    if (size)
        h = (h ^ rest) * m;
    h = (h ^ (h >> 13)) * m;
    return PyLong_FromUnsignedLong(h ^ (h >> 15));
}

static PyMethodDef functions[] = {
    {"murmur2", murmur2, METH_O, "Kafka's murmur2, as an unsigned 32 bit number."},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef definition = {PyModuleDef_HEAD_INIT, .m_name = "schemas._avro", .m_size = -1, .m_methods = functions};

PyMODINIT_FUNC PyInit__avro(void) {
    if (PyType_Ready(&CodecType) < 0)
        return NULL;
    PyObject *module = PyModule_Create(&definition);
    if (module == NULL || PyModule_AddObjectRef(module, "Codec", (PyObject *)&CodecType) < 0) {
        Py_XDECREF(module);
        return NULL;
    }
    return module;
}
