#include "server.h"

#include <arpa/inet.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"

static struct {
    pid_t pid;
    int input;
} children[8];
static size_t child_count;
static pid_t owner;
static char directory[] = "/tmp/millstream-test-XXXXXX";

static void end_children(void) {
    // A forked child of the test inherits this function but not the servers.
    if (getpid() != owner) {
        return;
    }
    for (size_t i = 0; i < child_count; i++) {
        close(children[i].input);
        waitpid(children[i].pid, NULL, 0);
    }
    char command[64];
    snprintf(command, sizeof command, "rm -rf '%s'", directory);
    if (strstr(directory, "XXXXXX") == NULL && system(command) != 0) {
        fprintf(stderr, "%s stays behind\n", directory);
    }
}

static const char* program(const char* variable) {
    const char* path = getenv(variable);
    if (path == NULL || access(path, X_OK) != 0) {
        check_failed(
            __FILE__, __LINE__, "%s is %s; set it to the path of the program", variable,
            path == NULL ? "not set" : path);
    }
    return path;
}

cJSON* server_start(const char* const* argv) {
    int input[2], output[2];
    if (child_count == 0) {
        owner = getpid();
        atexit(end_children);
    }
    CHECK(child_count < sizeof children / sizeof *children);
    CHECK(pipe(input) == 0 && pipe(output) == 0);
    pid_t pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) {
        dup2(input[0], STDIN_FILENO);
        dup2(output[1], STDOUT_FILENO);
        // The ends of this and of other servers: a server that holds one open would never end.
        for (int fd = 3; fd < 64; fd++) {
            close(fd);
        }
        execv(argv[0], (char* const*)argv);
        perror(argv[0]);
        _exit(127);
    }
    close(input[0]);
    close(output[1]);
    children[child_count].pid = pid;
    children[child_count++].input = input[1];

    char line[65536];
    size_t length = 0;
    while (length + 1 < sizeof line && read(output[0], line + length, 1) == 1 &&
           line[length] != '\n') {
        length++;
    }
    line[length] = '\0';
    cJSON* ready = cJSON_Parse(line);
    if (ready == NULL) {
        check_failed(__FILE__, __LINE__, "%s said \"%s\", not that it is ready", argv[0], line);
    }
    return ready;
}

void server_kill(void) {
    CHECK(child_count > 0);
    child_count--;
    kill(children[child_count].pid, SIGKILL);
    waitpid(children[child_count].pid, NULL, 0);
    close(children[child_count].input);
}

static const char* text(const cJSON* object, const char* name) {
    const cJSON* item = cJSON_GetObjectItemCaseSensitive(object, name);
    if (!cJSON_IsString(item)) {
        check_failed(__FILE__, __LINE__, "the ready line of the server has no text \"%s\"", name);
    }
    return item->valuestring;
}

const char* reference_target(const char* name) {
    static cJSON* ready;
    if (ready == NULL) {
        static char socket[64];
        CHECK(mkdtemp(directory) != NULL);
        snprintf(socket, sizeof socket, "%s/socket", directory);
        const char* argv[] = {
            program("MILLSTREAM_REFERENCE_SERVER"),
            "serve",
            "--exit-with-stdin",
            "--tls",
            "--mtls",
            "--tls-dir",
            directory,
            "--unix",
            socket,
            NULL};
        ready = server_start(argv);
    }
    return text(ready, name);
}

const char* reference_pem(const char* name) {
    char path[128];
    reference_target("https");
    snprintf(path, sizeof path, "%s/%s", directory, name);
    FILE* file = fopen(path, "rb");
    CHECK(file != NULL);
    char* content = calloc(1, 65536);
    CHECK(fread(content, 1, 65535, file) > 0);
    fclose(file);
    return content;
}

const char* fault_target(const char* name) {
    static cJSON* ready;
    if (ready == NULL) {
        const char* argv[] = {
            program("MILLSTREAM_FAULT_SERVER"), "serve", "--exit-with-stdin", NULL};
        ready = server_start(argv);
    }
    return text(ready, name);
}

const char* refused_target(void) {
    // Bound and not listening: nobody else can get the port, and nobody answers on it.
    static char target[64];
    struct sockaddr_in address = {.sin_family = AF_INET};
    socklen_t length = sizeof address;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    CHECK(fd >= 0 && bind(fd, (struct sockaddr*)&address, sizeof address) == 0);
    CHECK(getsockname(fd, (struct sockaddr*)&address, &length) == 0);
    snprintf(target, sizeof target, "http://127.0.0.1:%d", ntohs(address.sin_port));
    return target;
}
