package app;

import dev.millstream.Channel;

/** An application outside the module: tells its name, and whether the internals can be reached. */
public final class ModuleMain {
    private ModuleMain() {}

    public static void main(String[] args) {
        Module module = Channel.class.getModule();
        Channel.open("http://localhost:1").close();
        System.out.println(module.getName() + " " + module.isExported("dev.millstream.internal"));
    }
}
