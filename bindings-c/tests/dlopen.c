// Loads the library, makes it start its threads, closes it, and ends: argv[1] is its path. Rust's
// thread-locals would crash the end of each thread if their code had gone.
#include <dlfcn.h>
#include <millstream.h>
#include <pthread.h>
#include <stdio.h>
#include <unistd.h>

typedef mill_status
open_function(const char*, const mill_channel_options*, mill_channel*, mill_error**);
typedef mill_status connect_function(mill_channel, mill_error**);
typedef mill_status close_function(mill_channel, mill_error**);

static open_function* open_channel;
static connect_function* connect_channel;
static close_function* close_channel;

static void* use(void* result) {
    mill_channel channel = {0};
    *(int*)result = open_channel("http://127.0.0.1:9", NULL, &channel, NULL) != MILL_OK ||
                    connect_channel(channel, NULL) != MILL_OK ||
                    close_channel(channel, NULL) != MILL_OK;
    return NULL;
}

static int use_from_a_thread(void) {
    pthread_t thread;
    int failed = 1;
    return pthread_create(&thread, NULL, use, &failed) != 0 || pthread_join(thread, NULL) != 0 ||
           failed;
}

int main(int argc, char** argv) {
    void* library = argc == 2 ? dlopen(argv[1], RTLD_NOW | RTLD_LOCAL) : NULL;
    if (library == NULL) {
        fprintf(stderr, "cannot load: %s\n", dlerror());
        return 1;
    }
    *(void**)&open_channel = dlsym(library, "mill_channel_open");
    *(void**)&connect_channel = dlsym(library, "mill_channel_connect");
    *(void**)&close_channel = dlsym(library, "mill_channel_close");
    if (open_channel == NULL || connect_channel == NULL || close_channel == NULL) {
        fprintf(stderr, "a function is missing: %s\n", dlerror());
        return 1;
    }
    if (use_from_a_thread() || dlclose(library) != 0) {
        fprintf(stderr, "cannot use or close the library\n");
        return 1;
    }
    // The threads of the library go on and meet their code.
    usleep(200000);
    if (dlopen(argv[1], RTLD_NOW | RTLD_NOLOAD) == NULL || use_from_a_thread()) {
        fprintf(stderr, "the library was unloaded\n");
        return 1;
    }
    return 0;
}
