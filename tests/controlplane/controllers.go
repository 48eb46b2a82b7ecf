package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/discovery/cached/memory"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/metadata/metadatainformer"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/restmapper"
	"k8s.io/controller-manager/pkg/informerfactory"
	"k8s.io/klog/v2"
	"k8s.io/kubernetes/pkg/controller/certificates/rootcacertpublisher"
	"k8s.io/kubernetes/pkg/controller/clusterroleaggregation"
	"k8s.io/kubernetes/pkg/controller/garbagecollector"
	"k8s.io/kubernetes/pkg/controller/namespace"
	"k8s.io/kubernetes/pkg/controller/serviceaccount"
)

// discoveryInterval is how often the garbage collector looks for new kinds:
// every 30 seconds in a cluster, but a test that adds a kind should not wait.
const discoveryInterval = 3 * time.Second

// workers is how many objects each controller handles at a time.
const workers = 5

// clients are what the controllers share.
type clients struct {
	kube      kubernetes.Interface
	metadata  metadata.Interface
	informers informers.SharedInformerFactory
	config    *rest.Config
	started   chan struct{} // closed when the informers run
}

// A controller is built before the informers start and run after.
type controller func(ctx context.Context, c *clients) (run func(context.Context), err error)

// The names are those of kube-controller-manager. Its own package would bring
// forty more controllers, and 300 more packages to compile.
var known = map[string]controller{
	"namespace-controller":                     newNamespaceController,
	"garbage-collector-controller":             newGarbageCollector,
	"clusterrole-aggregation-controller":       newClusterRoleAggregation,
	"serviceaccount-controller":                newServiceAccounts,
	"root-ca-certificate-publisher-controller": newRootCAPublisher,
}

func controllerNames() []string { return slices.Sorted(maps.Keys(known)) }

// startControllers returns when the caches of the named controllers are
// filled. The controllers run until the process ends.
func startControllers(ctx context.Context, config *rest.Config, names []string) error {
	kube, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	meta, err := metadata.NewForConfig(config)
	if err != nil {
		return err
	}
	shared := &clients{
		kube:      kube,
		metadata:  meta,
		informers: informers.NewSharedInformerFactory(kube, 0),
		config:    config,
		started:   make(chan struct{}),
	}

	forever := context.WithoutCancel(ctx)
	var runs []func(context.Context)
	for _, name := range names {
		build, ok := known[name]
		if !ok {
			return fmt.Errorf("no controller %q, there are %s", name, strings.Join(controllerNames(), ", "))
		}
		run, err := build(forever, shared)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		runs = append(runs, run)
	}
	shared.informers.Start(forever.Done())
	close(shared.started)
	for _, run := range runs {
		go run(forever)
	}
	for kind, synced := range shared.informers.WaitForCacheSync(ctx.Done()) {
		if !synced {
			return fmt.Errorf("the cache of %v was not filled in time", kind)
		}
	}
	return nil
}

func newNamespaceController(ctx context.Context, c *clients) (func(context.Context), error) {
	controller := namespace.NewNamespaceController(ctx, c.kube, c.metadata,
		c.kube.Discovery().ServerPreferredNamespacedResources,
		c.informers.Core().V1().Namespaces(), 0, corev1.FinalizerKubernetes)
	return func(ctx context.Context) { controller.Run(ctx, workers) }, nil
}

func newGarbageCollector(ctx context.Context, c *clients) (func(context.Context), error) {
	// Two discovery clients: Sync must not empty the mapper's cache.
	mapped, err := discovery.NewDiscoveryClientForConfig(c.config)
	if err != nil {
		return nil, err
	}
	watched, err := discovery.NewDiscoveryClientForConfig(c.config)
	if err != nil {
		return nil, err
	}
	controller, err := garbagecollector.NewGarbageCollector(ctx, c.kube, c.metadata,
		restmapper.NewDeferredDiscoveryRESTMapper(memory.NewMemCacheClient(mapped)),
		garbagecollector.DefaultIgnoredResources(),
		informerfactory.NewInformerFactory(c.informers, metadatainformer.NewSharedInformerFactory(c.metadata, 0)),
		c.started)
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context) {
		go controller.Sync(ctx, watched, discoveryInterval)
		controller.Run(ctx, workers, discoveryInterval)
	}, nil
}

func newClusterRoleAggregation(_ context.Context, c *clients) (func(context.Context), error) {
	controller := clusterroleaggregation.NewClusterRoleAggregation(c.informers.Rbac().V1().ClusterRoles(), c.kube.RbacV1())
	return func(ctx context.Context) { controller.Run(ctx, workers) }, nil
}

func newServiceAccounts(ctx context.Context, c *clients) (func(context.Context), error) {
	controller, err := serviceaccount.NewServiceAccountsController(klog.FromContext(ctx),
		c.informers.Core().V1().ServiceAccounts(), c.informers.Core().V1().Namespaces(), c.kube,
		serviceaccount.DefaultServiceAccountsControllerOptions())
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context) { controller.Run(ctx, workers) }, nil
}

func newRootCAPublisher(_ context.Context, c *clients) (func(context.Context), error) {
	controller, err := rootcacertpublisher.NewPublisher(
		c.informers.Core().V1().ConfigMaps(), c.informers.Core().V1().Namespaces(), c.kube, c.config.CAData)
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context) { controller.Run(ctx, workers) }, nil
}
