/* Python's arenas out of large pages.

   A column of a million records is walked at random, and on pages of 4 KiB nearly every look at one also misses the table of
   pages. Python asks the system for its arenas one by one, too small for it to give a large page by itself. Here they come
   out of a stretch of addresses that is one piece and asks for large pages; memory is taken as it is touched, and given back
   as an arena falls free. Where the system has no more addresses or no large pages, everything is as it was before. */

#define PY_SSIZE_T_CLEAN
#define _GNU_SOURCE
#include <Python.h>

#if defined(__linux__)
#include <stdint.h>
#include <sys/mman.h>

#define LARGE ((size_t)2 << 20)
#define STRETCH ((size_t)1 << 30)
#define STRETCHES 256 /* more memory than that is the system's own affair again */


static PyObjectArenaAllocator before; /* what arenas came from until now */
static char *stretches[STRETCHES], *at, *end;
static int used;
static size_t size; /* of an arena; all are alike */
static void *spare[4096];
static int spares;

static int ours(const char *arena) {
    for (int i = 0; i < used; i++)
        if (arena >= stretches[i] && arena < stretches[i] + STRETCH)
            return 1;
    return 0;
}

static int one_more_stretch(void) {
    if (used == STRETCHES)
        return 0;
    char *found = mmap(NULL, STRETCH + LARGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (found == MAP_FAILED)
        return 0;
    char *even = (char *)(((uintptr_t)found + LARGE - 1) & ~(uintptr_t)(LARGE - 1));
    if (madvise(even, STRETCH, MADV_HUGEPAGE) != 0) {
        munmap(found, STRETCH + LARGE);
        return 0;
    }
    stretches[used++] = at = even;
    end = even + STRETCH;
    return 1;
}

static void *give(void *context, size_t asked) {
    if (size == 0)
        size = asked;
    if (asked == size) {
        if (spares > 0)
            return spare[--spares];
        if ((size_t)(end - at) >= size || one_more_stretch()) {
            void *arena = at;
            at += size;
            return arena;
        }
    }
    return before.alloc(before.ctx, asked);
}

static void take_back(void *context, void *arena, size_t asked) {
    if (!ours(arena)) {
        before.free(before.ctx, arena, asked);
        return;
    }
    madvise(arena, asked, MADV_DONTNEED);
    if (spares < (int)(sizeof(spare) / sizeof(spare[0])))
        spare[spares++] = arena; /* else its addresses are lost, and nothing but those */
}

/* What is no small object is the system's, as the table of a dict with a million keys: of those the large ones ask for large pages. */
#define WORTH_IT (2 * LARGE)

static PyMemAllocatorEx raw; /* as it was before */

static void *asking(void *block, size_t asked) {
    if (block != NULL && asked >= WORTH_IT) {
        uintptr_t first = ((uintptr_t)block + LARGE - 1) & ~(uintptr_t)(LARGE - 1);
        madvise((void *)first, ((uintptr_t)block + asked - first) & ~(uintptr_t)(LARGE - 1), MADV_HUGEPAGE);
    }
    return block;
}

static void *raw_malloc(void *context, size_t asked) { return asking(raw.malloc(raw.ctx, asked), asked); }

static void *raw_calloc(void *context, size_t n, size_t each) {
    return asking(raw.calloc(raw.ctx, n, each), each > 0 && n > PY_SSIZE_T_MAX / each ? 0 : n * each);
}

static void *raw_realloc(void *context, void *block, size_t asked) { return asking(raw.realloc(raw.ctx, block, asked), asked); }

static void raw_free(void *context, void *block) { raw.free(raw.ctx, block); }

static PyObject *large(PyObject *module, PyObject *none) {
    PyMemAllocatorEx wrapped = {NULL, raw_malloc, raw_calloc, raw_realloc, raw_free};
    PyObjectArenaAllocator now = {NULL, give, take_back};
    if (before.alloc == NULL) {
        PyObject_GetArenaAllocator(&before);
        PyObject_SetArenaAllocator(&now);
        PyMem_GetAllocator(PYMEM_DOMAIN_RAW, &raw);
        PyMem_SetAllocator(PYMEM_DOMAIN_RAW, &wrapped);
    }
    Py_RETURN_NONE;
}
#else
static PyObject *large(PyObject *module, PyObject *none) { Py_RETURN_NONE; }
#endif

static PyMethodDef functions[] = {{"large", large, METH_NOARGS, "From now on arenas come out of large pages, where there are any; asked twice, nothing more."},
                                  {NULL, NULL, 0, NULL}};

static struct PyModuleDef definition = {PyModuleDef_HEAD_INIT, .m_name = "streams._pages", .m_size = -1, .m_methods = functions};

PyMODINIT_FUNC PyInit__pages(void) { return PyModule_Create(&definition); }
