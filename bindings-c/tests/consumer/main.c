#include <millstream.h>
#include <stdio.h>

int main(void) {
    mill_channel channel = {0};
    mill_buffer* response = NULL;
    mill_slice nothing = {NULL, 0};
    // Nobody listens on port 1; the call goes through the whole library and says so.
    if (mill_channel_open("http://127.0.0.1:1", NULL, &channel, NULL) != MILL_OK ||
        mill_unary(channel, "/a.B/C", NULL, nothing, &response, NULL, NULL) !=
            MILL_STATUS_UNAVAILABLE ||
        mill_channel_close(channel, NULL) != MILL_OK) {
        return 1;
    }
    printf("millstream %s\n", mill_version());
    return 0;
}
